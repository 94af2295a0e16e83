"""Measures plutino beside a peer and the ceiling, in the same namespaces and the same run."""
