"""Desired and observed state in, ordered and reversible steps out. Pure."""
