"""Which peers: those that Debian 12 has; with PLUTINO_EXHAUSTIVE also newer ones that are there.

libreswan needs the kernel's ESP and XFRM interfaces: only guests collect its tests.
"""

import os
from collections.abc import Sequence

import pytest

from plutino.lab.guest.run import GUEST_VARIABLE
from plutino.lab.peers.packages import (
    LIBRESWAN,
    LIBRESWAN_5,
    STRONGSWAN,
    STRONGSWAN_6,
    Peer,
    find_peer,
)
from tests.support.exhaustive import EXHAUSTIVE

collect_ignore_glob = [] if GUEST_VARIABLE in os.environ else ["test_libreswan*.py"]


def _those_here(usual: Peer, newer: Peer) -> Sequence[Peer]:
    return (usual, newer) if EXHAUSTIVE and find_peer(newer) is not None else (usual,)


@pytest.fixture(params=_those_here(LIBRESWAN, LIBRESWAN_5), ids=lambda one: one.name)
def libreswan(request: pytest.FixtureRequest) -> Peer:
    """4.10, and 5."""
    assert isinstance(request.param, Peer)
    return request.param


@pytest.fixture(params=_those_here(STRONGSWAN, STRONGSWAN_6), ids=lambda one: one.name)
def strongswan(request: pytest.FixtureRequest) -> Peer:
    """5.9.8, and 6."""
    assert isinstance(request.param, Peer)
    return request.param
