"""Observe, apply the steps, observe again and verify, or undo."""
