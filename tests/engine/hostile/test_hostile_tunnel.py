"""What a tunnel holds that is no packet, or not one of its own."""

from typing import Any

import pytest
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6

from plutino.model.policy import Direction
from plutino.model.sa import SaDirection
from tests.support.attack import (
    ESP,
    IPIP,
    IPV6,
    LONGEST,
    MOST_SAS,
    UDP_PROTOCOL,
    Attack,
    packet_of,
)
from tests.support.engine_lab import ONE, changed, policy
from tests.support.esp_judge import Judge
from tests.support.until import until

pytestmark = pytest.mark.root


@pytest.mark.parametrize("next_header", [0, 1, UDP_PROTOCOL, IPV6, ESP, 94, 255])
def test_a_wrong_next_header(tunnel: Attack, next_header: int) -> None:
    with tunnel.counted(XfrmInStateModeError=1):
        tunnel.send(tunnel.forge(tunnel.inner(), b"", 0, next_header))


def test_an_inner_packet_of_another_family_than_told(tunnel: Attack) -> None:
    with tunnel.counted(XfrmInStateModeError=2):
        tunnel.send(tunnel.forge(tunnel.inner(version=6), b"", 0, IPIP))
        tunnel.send(tunnel.forge(tunnel.inner(version=4), b"", 0, IPV6))


def test_an_inner_version_that_does_not_exist(tunnel: Attack) -> None:
    versions = [version for version in range(16) if version not in (4, 6)]
    with tunnel.counted(XfrmInStateModeError=2 * len(versions)):
        for version in versions:
            for real, next_header in ((4, IPIP), (6, IPV6)):
                inner = bytearray(tunnel.inner(version=real))
                inner[0] = version << 4 | inner[0] & 15
                tunnel.send(tunnel.forge(bytes(inner), b"", 0, next_header))


def test_an_inner_header_that_is_not_whole(tunnel: Attack) -> None:
    cut = [(tunnel.inner()[:length], IPIP) for length in range(2, 20)]
    cut += [(tunnel.inner(version=6)[:length], IPV6) for length in range(2, 40)]
    # `xfrm4_remove_tunnel_encap` and its twin: the header cannot be pulled.
    with tunnel.counted(XfrmInStateModeError=len(cut)):
        for text, next_header in cut:
            tunnel.send(tunnel.forge(text, b"", 0, next_header))


def test_an_inner_length_that_is_a_lie(tunnel: Attack) -> None:
    v4, v6 = IP(tunnel.inner()), IPv6(tunnel.inner(version=6))
    shorter = v4.copy()
    v4.len, shorter.len, v6.plen = LONGEST, 19, LONGEST
    short_header = IP(tunnel.inner())
    short_header.ihl = 4
    with tunnel.counted(XfrmInHdrError=4):
        for packet in (v4, shorter, short_header):
            tunnel.send(tunnel.forge(bytes(packet), b"", 0, IPIP))
        tunnel.send(tunnel.forge(bytes(v6), b"", 0, IPV6))


def test_inner_addresses_outside_the_selector_of_the_sa(tunnel: Attack) -> None:
    narrow = tunnel.narrowed()
    good = tunnel.inner(b"inside the selector")
    tunnel.assert_passes(narrow.seal(good), good)
    foreign = []
    for member, address in (("src", "10.1.0.2"), ("dst", "10.2.0.2")):
        packet = IP(tunnel.inner())
        setattr(packet, member, address)
        del packet.chksum
        foreign.append(bytes(packet))
    foreign.append(tunnel.inner(version=6))
    with tunnel.counted(XfrmInStateMismatch=len(foreign)):
        for octets in foreign:
            tunnel.send(narrow.seal(octets))


def test_nested_too_deep(tunnel: Attack) -> None:
    flows = [tunnel.lab.new_flow(tunnel.case, ONE) for _ in range(MOST_SAS + 1)]
    for flow in flows:
        tunnel.lab.two.send(flow.sa(SaDirection.IN))
    layers = [Judge(flow) for flow in flows]
    six = policy(Direction.IN, 4, template=tunnel.flow.template())
    tunnel.set_policies(changed(six, TMPL=(tunnel.flow.template(),) * MOST_SAS))
    good = tunnel.inner(b"six deep")
    tunnel.send(nest(layers[:MOST_SAS], good, 1))
    assert tunnel.lab.two.await_delivery() == good
    before = tunnel.lab.two.drops().get("XfrmInBufferError", 0)
    with tunnel.counted(XfrmInBufferError=1):
        tunnel.send(nest(layers, tunnel.inner(b"seven deep"), 2))
        until(lambda: tunnel.lab.two.drops().get("XfrmInBufferError", 0) > before, "the drop")
        tunnel.reset_policies()


def nest(layers: list[Judge], inner: bytes, sequence: int) -> Any:
    """Sealed by the last of them first."""
    packet = inner
    for judge in reversed(layers):
        packet = bytes(judge.seal(packet, sequence))
    return packet_of(packet)
