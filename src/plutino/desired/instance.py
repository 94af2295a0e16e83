"""The numbers that belong to one instance, so that several gateways can share a kernel. Pure."""

import hashlib
from typing import Final

from plutino.model.instance import DEFAULT_INSTANCE

DEFAULT_PRIORITY: Final = 13400
PRIORITIES: Final = 134
"""Some for uplinks, two for each prefix length of routes that cover a peer: so many are ours."""
_RANGES: Final = 130
"""Of priorities, below that of main (32766)."""
TWIN_METRIC: Final = 0xFFFF0000
"""Unreachable twins lose against every other route; the low half tells instances apart."""


def instance_number(instance: str, size: int) -> int:
    """0 for the default instance, another below ``size`` for every other."""
    if instance == DEFAULT_INSTANCE:
        return 0
    digest = hashlib.sha256(instance.encode()).digest()
    return 1 + int.from_bytes(digest[:4], "big") % (size - 1)


def lowest_priority(instance: str) -> int:
    """The first priority of an instance's rules."""
    return DEFAULT_PRIORITY + PRIORITIES * instance_number(instance, _RANGES)


def twin_metric(instance: str) -> int:
    """The metric of an instance's unreachable routes, by which they are known as its own."""
    digest = hashlib.sha256(instance.encode()).digest()
    return TWIN_METRIC | int.from_bytes(digest[:2], "big")
