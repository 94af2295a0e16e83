"""Rules of others that translate all that leaves: tunnels and ESP are exempt on request."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from plutino.lab.demo import BERLIN, INNER, OUTER, PARIS
from tests.support.lab import Pair, running_pair
from tests.support.multihomed_lab import run

pytestmark = pytest.mark.root

BEHIND = "10.1.0.9"
"""A host behind Paris, whose address is on Paris's loopback here."""
SECOND = "192.0.2.77"
"""Another address of Paris on the wire, which masquerading would not choose."""


@contextmanager
def masquerading(plane: str, *, exempt: bool, encapsulation: str = "esp") -> Iterator[Pair]:
    with running_pair(plane=plane, start=False, encapsulation=encapsulation) as pair:
        here = pair.paris.namespace
        run(here, f"ip address add {BEHIND}/32 dev lo", f"ip address add {SECOND}/24 dev wire")
        hook = "{ type nat hook postrouting priority srcnat ; }"
        run(
            here,
            "nft add table ip theirs",
            f"nft add chain ip theirs post {hook}",
            "nft add rule ip theirs post masquerade",
        )
        for host in (pair.paris, pair.berlin):
            text = host.file.read_text().replace(f'"{OUTER[4][PARIS]}"', f'"{SECOND}"')
            host.file.write_text(f"nat-exempt = {str(exempt).lower()}\n{text}")
            host.start_daemon()
        for host in (pair.paris, pair.berlin):
            host.wait_until_up()
        yield pair


def source_seen(pair: Pair) -> str | None:
    """Where a packet from behind Paris seems to come from at Berlin."""
    with pair.berlin.namespace.entered():
        hearer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        hearer.bind((INNER[BERLIN][0], 7))
    with pair.paris.namespace.entered():
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sender.bind((BEHIND, 0))
    with hearer, sender:
        hearer.settimeout(1)
        sender.sendto(b"who am I?", (INNER[BERLIN][0], 7))
        try:
            return str(hearer.recvfrom(64)[1][0])
        except TimeoutError:
            return None


def outer_sources(pair: Pair) -> set[str]:
    addresses = {frame[26:30] for frame, _at in pair.frames if frame[12:14] == b"\x08\x00"}
    return {socket.inet_ntoa(one) for one in addresses} - {OUTER[4][BERLIN]}


def test_without_exemption_others_translate(plane: str) -> None:
    with masquerading(plane, exempt=False) as pair:
        assert source_seen(pair) != BEHIND


@pytest.mark.parametrize("encapsulation", ["esp", "udp"])
def test_tunnels_and_esp_keep_their_sources(plane: str, encapsulation: str) -> None:
    with masquerading(plane, exempt=True, encapsulation=encapsulation) as pair:
        assert source_seen(pair) == BEHIND
        assert outer_sources(pair) == {SECOND}
        assert pair.paris.plutino("down").returncode == 0
        assert "plutino" not in run(pair.paris.namespace, "nft list ruleset")
