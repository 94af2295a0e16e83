"""CHILD_SAs and IKE SAs that we rekey while packets flow, one after another, with libreswan.

As a responder it sends by a new CHILD_SA as soon as it has answered (RFC 7296, 2.8).
"""

import fcntl
import re
from functools import partial
from ipaddress import ip_address

import pytest

from plutino.lab.demo import BERLIN, INNER, PARIS
from plutino.lab.peers.packages import Peer
from plutino.lab.traffic import ping
from plutino.lab.wire import FrameKind
from tests.support.fault_stream import Stream
from tests.support.libreswan_lab import (
    BY_NAME,
    NAMES,
    Mixed,
    address_interface,
    connection,
    mixed_pair,
)
from tests.support.rekeys import IKE_REKEYS, OFTEN, REKEYS, Changes, traffic, until_so_many
from tests.support.until import until


def child_rekeys(lab: Mixed) -> int:
    """So many CHILD_SAs has libreswan made in the place of others when we asked for it."""
    return lab.libreswan.log().count("responder rekeyed Child SA")


def many(lab: Mixed) -> None:
    """Rekeys of both kinds by us, under traffic."""
    lab.until_it_passes()
    with traffic(lab):
        ikes = Changes(lambda: lab.ike_sas() if len(lab.ike_sas()) == 1 else None)
        until_so_many(lambda: child_rekeys(lab), REKEYS, "CHILD_SAs")
        until_so_many(ikes.count, IKE_REKEYS, "IKE SAs")
    lab.assert_nothing_in_clear()


@pytest.mark.parametrize("plane", ["kernel", "userspace"])
def test_what_comes_while_an_installation_waits(libreswan: Peer, plane: str) -> None:
    """A pass over the gateway takes its time, and libreswan sends meanwhile."""
    with mixed_pair(libreswan, connection(), paris=OFTEN, plane=plane) as lab:
        lab.until_it_passes()
        before = child_rekeys(lab)
        with (lab.paris.folder / "run" / "default" / "pass.lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with traffic(lab, 0.005) as (_, back):
                until(partial(has_rekeyed, lab, before), "libreswan has a new CHILD_SA")
                mark = back.sent
                until(partial(has_sent, back, mark + 30), "it sends by it")
                assert not back.received & {*range(mark + 10, mark + 30)}
                fcntl.flock(lock, fcntl.LOCK_UN)
                until_so_many(partial(child_rekeys, lab), 1, "CHILD_SAs")


class Waiting(Stream):
    """Begins before anything can pass."""

    def until_it_passes(self) -> None:
        """Not yet."""


@pytest.mark.parametrize("plane", ["kernel", "userspace"])
def test_what_comes_before_the_first_child_sa_is_in_force(libreswan: Peer, plane: str) -> None:
    """libreswan sends as soon as it has answered, while Paris is busy with something else."""
    ours = 'start = "on-traffic"'
    with mixed_pair(libreswan, connection(), paris=ours, plane=plane) as lab:
        until(lambda: "ready: " in lab.paris.last_words(), "plutino listens")
        with (
            (lab.paris.folder / "run" / "default" / "pass.lock").open() as lock,
            Waiting(lab, INNER[PARIS][0], back=True, interval=0.02) as back,
        ):
            fcntl.flock(lock, fcntl.LOCK_EX)
            ping(lab.paris.namespace, ip_address(INNER[BERLIN][0]), count=1, timeout=0.1)
            until(lambda: bool(lab.children()), "libreswan has a CHILD_SA")
            address_interface(lab.berlin, lab.interface)
            lab.tap.catch_up()
            before = lab.tap.count(FrameKind.ESP)

            def has_sent() -> bool:
                lab.tap.catch_up()
                return lab.tap.count(FrameKind.ESP) >= before + 20

            until(has_sent, "it sends by it")
            mark = back.sent
            assert not back.received
            fcntl.flock(lock, fcntl.LOCK_UN)
            wanted = {*range(mark - 15, mark)}
            until(lambda: wanted <= back.received, "all that it sent meanwhile arrives")
            assert not back.repeated


def has_rekeyed(lab: Mixed, before: int) -> bool:
    return child_rekeys(lab) > before


def has_sent(stream: Stream, number: int) -> bool:
    return stream.sent > number


@pytest.mark.parametrize("plane", ["kernel", "userspace"])
@pytest.mark.parametrize("family", [4, 6])
def test_of_both_kinds_by_us(libreswan: Peer, family: int, plane: str) -> None:
    with mixed_pair(libreswan, connection(family), family, paris=OFTEN, plane=plane) as lab:
        many(lab)


@pytest.mark.parametrize("plane", ["kernel", "userspace"])
def test_of_both_kinds_by_us_behind_a_nat(libreswan: Peer, plane: str) -> None:
    """ESP in UDP."""
    theirs, ours = connection(auth=BY_NAME), NAMES + OFTEN
    with mixed_pair(libreswan, theirs, paris=ours, inside=PARIS, plane=plane) as lab:
        many(lab)
        assert FrameKind.ESP_IN_UDP in lab.nat.kinds()


@pytest.mark.parametrize("plane", ["kernel", "userspace"])
def test_of_both_kinds_by_us_under_the_strict_guard(libreswan: Peer, plane: str) -> None:
    """The tunnel has the default route, and nothing but ESP and IKE passes beside it."""
    ours = NAMES + OFTEN
    with mixed_pair(
        libreswan, connection(auth=BY_NAME), paris=ours, inside=PARIS, plane=plane, edit=everything
    ) as lab:
        many(lab)


def everything(text: str) -> str:
    """The gateway file with all of IPv4 in its tunnel."""
    return 'guard = "strict"\n' + re.sub("routes = .*", 'routes = ["0.0.0.0/0"]', text, count=1)
