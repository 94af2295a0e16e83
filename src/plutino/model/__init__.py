"""The words of the house: small frozen values that every other package speaks in.

Nothing here imports another package of plutino, and nothing here does I/O.
"""
