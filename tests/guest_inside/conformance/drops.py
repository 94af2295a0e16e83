"""What comes in and is dropped, under which counter; packets that are too large."""

from tests.guest_inside.conformance.packets import IPIP, Outer, esp, incoming, outgoing, sealed
from tests.guest_inside.conformance.scenario import (
    ANY6,
    NEWSA,
    Ask,
    Inject,
    Run,
    Scenario,
    Send,
    get_sa,
    in_policy,
    in_sa,
    in_template,
    out_policy,
    out_sa,
    out_template,
    receives,
    scenario,
    templates,
)
from tests.support.policy_wire import selector
from tests.support.sa_wire import IN, LOCAL, PLAIN, REMOTE, direction, encap, if_id, sa, sa_id

_GOOD = sealed(incoming())


def _changed(at: int) -> bytes:
    octets = bytearray(_GOOD)
    octets[at] ^= 1
    return bytes(octets)


_NAME = sa_id(destination=LOCAL[4])
_BAD = {
    "unknown SPI": sealed(incoming(), spi=0x9999),
    "SPI 0": sealed(incoming(), spi=0),
    "tampered ICV": _changed(-1),
    "tampered text": _changed(50),
    "tampered sequence number": _changed(27),
    "other key": Outer().packet(esp(incoming(), IPIP, key=bytes(32))),
    "no payload": Outer().packet(b""),
    "four octets": Outer().packet(bytes.fromhex("00001000")),
    "eight octets": Outer().packet(bytes.fromhex("0000100000000001")),
    "header and ICV alone": Outer().packet(bytes.fromhex("0000100000000001") + bytes(16)),
    "one octet less": Outer().packet(esp(incoming(), IPIP)[:-1]),
    "one octet more": Outer().packet(esp(incoming(), IPIP) + b"x"),
    "unknown SPI in UDP": sealed(incoming(), spi=0x9999, outer=Outer(in_udp=(4500, 4500))),
    "to another address": sealed(incoming(), outer=Outer(destination="192.0.2.77")),
}
_SELECTED = (
    sa(
        source=REMOTE[4],
        destination=LOCAL[4],
        chosen=selector("10.2.0.0", "10.1.0.0"),
        flags=0,
    )
    + PLAIN
    + if_id()
    + direction(IN)
)

_UP_AGAIN = (
    Run("link set ipsec1 up", inside=True),
    Run("addr replace fd00:1::1/128 dev ipsec1 nodad", inside=True),
    Run("route replace 10.2.0.0/16 dev ipsec1 src 10.1.0.1", inside=True),
    Run("route replace fd00:2::/48 dev ipsec1 src fd00:1::1", inside=True),
)


def _pmtu(name: str, *sends: Send, attributes: bytes = b"", outer: int = 4) -> Scenario:
    return scenario(
        f"too large: {name}",
        Run("link set wire mtu 1400", "link set wire mtu 1500"),
        Run("link set ipsec1 mtu 1500", "link set ipsec1 mtu 1400", inside=True),
        out_policy(attributes=templates(out_template(outer))),
        out_policy(ANY6, templates(out_template(outer))),
        out_sa(PLAIN + attributes, version=outer),
        *sends,
        Run("route flush cache"),
        Run("-6 route flush cache"),
        Run("route flush cache", inside=True),
        Run("-6 route flush cache", inside=True),
    )


def _sized(octets: int, version: int = 4, *, df: bool = True) -> Send:
    header = 28 if version == 4 else 48
    return Send(outgoing(version, bytes(octets - header), df=df))


SCENARIOS: tuple[Scenario, ...] = (
    *(
        scenario(f"in: {name}", in_policy(), in_sa(), Inject(packet), get_sa(_NAME))
        for name, packet in _BAD.items()
    ),
    scenario("in: nothing at all", receives(incoming())),
    scenario("in: SA of the other direction", in_policy(), out_sa(), Inject(_GOOD)),
    scenario(
        "in: SA with the direction out",
        in_policy(),
        Ask(NEWSA, sa(source=REMOTE[4], destination=LOCAL[4]) + PLAIN + if_id() + direction(2)),
        Inject(_GOOD),
    ),
    scenario("in: inside the SA's selector", in_policy(), Ask(NEWSA, _SELECTED), Inject(_GOOD)),
    scenario(
        "in: outside the SA's selector",
        in_policy(),
        Ask(NEWSA, _SELECTED),
        receives(incoming(source="172.16.0.1")),
    ),
    scenario(
        "in: device down",
        in_policy(),
        in_sa(),
        Run("link set ipsec1 down", "link set ipsec1 up", inside=True),
        Inject(_GOOD),
        *_UP_AGAIN,
    ),
    scenario(
        "in: device down and a policy of if_id 0",
        in_policy(tied=0),
        in_sa(),
        Run("addr add 10.1.0.1/32 dev lo", "addr del 10.1.0.1/32 dev lo", inside=True),
        Run("link set ipsec1 down", "link set ipsec1 up", inside=True),
        Inject(_GOOD),
        *_UP_AGAIN,
    ),
    scenario(
        "in: good after bad",
        in_policy(),
        in_sa(window=32),
        Inject(_changed(-1)),
        Inject(_GOOD),
        Inject(_GOOD),
        get_sa(_NAME),
    ),
    scenario(
        "in: nested",
        in_policy(attributes=templates(in_template(reqid=8), in_template())),
        in_sa(),
        in_sa(spi=0x2000, reqid=8),
        Inject(sealed(sealed(incoming(), spi=0x2000))),
    ),
    scenario(
        "in: nested with a policy for one",
        in_policy(),
        in_sa(),
        in_sa(spi=0x2000, reqid=8),
        Inject(sealed(sealed(incoming(), spi=0x2000))),
    ),
    *(
        _pmtu(f"IPv4 of {octets} octets", _sized(octets))
        for octets in (1340, 1341, 1342, 1343, 1344, 1345, 1346, 1347, 1360, 1400)
    ),
    _pmtu("IPv4 in UDP", _sized(1334), _sized(1335), _sized(1345), attributes=encap()),
    _pmtu("IPv4 in IPv6", _sized(1322), _sized(1326), _sized(1327), outer=6),
    _pmtu("IPv6", _sized(1342, 6), _sized(1343, 6), _sized(1346, 6), _sized(1347, 6)),
    _pmtu("IPv6 of 1280", _sized(1280, 6)),
    _pmtu("IPv4 without DF", _sized(1346, df=False), _sized(1360, df=False)),
)
