"""Guests: a booted Linux kernel on this machine's own files, for tests of the kernel data plane.

``python -m plutino.lab.guest -- COMMAND`` runs any command as root in one; see ``__main__``.
"""
