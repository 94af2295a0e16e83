"""IKE in a process of its own, without privileges: what parses the network can do nothing else.

The daemon starts it, hands it the peers and the sockets to read from, and does what it asks for:
send, keep, install (``outcome.py``). It may be killed at any time; another goes on with what the
daemon has kept.
"""
