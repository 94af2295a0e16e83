"""Rules of others that translate all that leaves: tunnels and ESP are exempt on request."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from plutino.lab.demo import BERLIN, INNER, OUTER, PARIS
from plutino.lab.wire import FrameKind, classify
from tests.support.exhaustive import alternating
from tests.support.lab import Pair, running_pair
from tests.support.multihomed_lab import run

pytestmark = pytest.mark.root

BEHIND = {4: "10.1.0.9", 6: "2001:db8:1::9"}
"""A host behind Paris, whose address is on Paris's loopback here."""
SECOND = {4: "192.0.2.77", 6: "2001:db8::77"}
"""Another address of Paris on the wire, which masquerading would not choose."""
LENGTH = {4: 24, 6: 64}
EVERYTHING, TUNNELS = "", "oifname ipsec*"
HEADER = {4: (b"\x08\x00", 26, 4), 6: (b"\x86\xdd", 22, 16)}
"""EtherType, and where the source address stands in a frame."""


@contextmanager
def masquerading(
    plane: str, version: int, *, exempt: bool, encapsulation: str = "esp", what: str = EVERYTHING
) -> Iterator[Pair]:
    with running_pair(version, plane=plane, start=False, encapsulation=encapsulation) as pair:
        here = pair.paris.namespace
        for one in (4, 6):
            run(
                here,
                f"ip address add {BEHIND[one]} dev lo",
                f"ip address add {SECOND[one]}/{LENGTH[one]} dev wire" + " nodad" * (one == 6),
            )
        hook = "{ type nat hook postrouting priority srcnat ; }"
        run(
            here,
            "nft add table inet theirs",
            f"nft add chain inet theirs post {hook}",
            f"nft add rule inet theirs post {what} masquerade",
        )
        for host in (pair.paris, pair.berlin):
            text = host.file.read_text()
            text = text.replace(f'"{OUTER[version][PARIS]}"', f'"{SECOND[version]}"')
            host.file.write_text(f"nat-exempt = {str(exempt).lower()}\n{text}")
            host.start_daemon()
        for host in (pair.paris, pair.berlin):
            host.wait_until_up()
        yield pair


def source_seen(pair: Pair, version: int) -> str | None:
    """Where a packet from behind Paris seems to come from at Berlin, which answers."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    target = INNER[BERLIN][0 if version == 4 else 1]
    with pair.berlin.namespace.entered():
        hearer = socket.socket(family, socket.SOCK_DGRAM)
        hearer.bind((target, 7))
    with pair.paris.namespace.entered():
        sender = socket.socket(family, socket.SOCK_DGRAM)
        sender.bind((BEHIND[version], 0))
    with hearer, sender:
        hearer.settimeout(1)
        sender.settimeout(1)
        sender.sendto(b"who am I?", (target, 7))
        try:
            asked, source = hearer.recvfrom(64)
            hearer.sendto(asked, source)
            assert sender.recv(64) == asked
        except TimeoutError:
            return None
        return str(source[0])


def outer_sources(pair: Pair, version: int) -> set[str]:
    """Of ESP and ESP in UDP: who talks on the wire, but for neighbours and Berlin."""
    ethertype, start, size = HEADER[version]
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    found = {
        socket.inet_ntop(family, frame[start : start + size])
        for frame, _at in pair.frames
        if frame[12:14] == ethertype
        and classify(frame) in (FrameKind.ESP, FrameKind.ESP_IN_UDP, FrameKind.CLEAR)
    }
    return found - {OUTER[version][BERLIN]}


@pytest.mark.parametrize(("what", "version"), alternating([EVERYTHING, TUNNELS]))
def test_without_exemption_others_translate(plane: str, version: int, what: str) -> None:
    with masquerading(plane, version, exempt=False, what=what) as pair:
        assert source_seen(pair, version) != BEHIND[version]


EXEMPTIONS = (("esp", EVERYTHING), ("udp", EVERYTHING), ("esp", TUNNELS))


@pytest.mark.parametrize(("case", "version"), alternating(EXEMPTIONS))
def test_tunnels_and_esp_keep_their_sources(
    plane: str, case: tuple[str, str], version: int
) -> None:
    encapsulation, what = case
    with masquerading(plane, version, exempt=True, encapsulation=encapsulation, what=what) as pair:
        for inner in (4, 6):
            assert source_seen(pair, inner) == BEHIND[inner]
        assert outer_sources(pair, version) == {SECOND[version]}
        assert pair.paris.plutino("down").returncode == 0
        assert "plutino" not in run(pair.paris.namespace, "nft list ruleset")
