"""Proposals of IKE SAs and CHILD_SAs as a configuration tells them, by IANA's numbers."""

from typing import NamedTuple


class Algorithm(NamedTuple):
    """One transform (RFC 7296, 3.3.2); ``key_bits`` is its Key Length, if it has that attribute."""

    type: int
    number: int
    key_bits: int | None = None


Proposal = tuple[Algorithm, ...]
"""All transforms of a proposal, the preferred ones of each type first."""
