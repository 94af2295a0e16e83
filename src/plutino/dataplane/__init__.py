"""Kernel and engine behind one Protocol."""
