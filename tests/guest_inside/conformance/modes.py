"""Modes, families, encapsulations and header fields, both ways."""

import struct

from tests.guest_inside.conformance.packets import (
    BEETPH,
    IPIP,
    IPV6,
    NO_NEXT,
    PORT,
    UDP,
    Outer,
    esp,
    incoming,
    outgoing,
    sealed,
    udp,
)
from tests.guest_inside.conformance.scenario import (
    ANY,
    ANY4,
    NEWSA,
    Ask,
    Inject,
    Run,
    Scenario,
    Send,
    dump_sas,
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
from tests.support.sa_wire import (
    AF_UNSPEC,
    BEET,
    ETIMER_THRESH,
    IN,
    LOCAL,
    OUT,
    PLAIN,
    REMOTE,
    SA_EXTRA_FLAGS,
    TFCPAD,
    TRANSPORT,
    direction,
    encap,
    if_id,
    number,
    output_mark,
    sa,
)

_ENDS = {
    4: selector("10.1.0.1", "10.2.0.1", prefixes=(32, 32)),
    6: selector("fd00:1::1", "fd00:2::1", prefixes=(128, 128)),
}
_BACK = {
    4: selector("10.2.0.1", "10.1.0.1", prefixes=(32, 32)),
    6: selector("fd00:2::1", "fd00:1::1", prefixes=(128, 128)),
}
_TIED = number(ETIMER_THRESH, 0) + if_id()


def _out(
    name: str,
    *sends: Send,
    inner: int = 4,
    outer: int = 4,
    attributes: bytes = b"",
    flags: int = AF_UNSPEC,
) -> Scenario:
    return scenario(
        f"tunnel out: {name}",
        out_policy(ANY[inner], templates(out_template(outer))),
        out_sa(PLAIN + attributes, version=outer, flags=flags),
        *sends,
    )


def _in(
    name: str,
    *packets: bytes,
    inner: int = 4,
    outer: int = 4,
    attributes: bytes = b"",
    flags: int = 32,
) -> Scenario:
    return scenario(
        f"tunnel in: {name}",
        in_policy(ANY[inner], templates(in_template(outer))),
        in_sa(PLAIN + attributes, version=outer, flags=flags),
        *map(Inject, packets),
    )


_PLAIN6 = outgoing(6)
_LABELLED = b"\x60\x01\x23\x45" + _PLAIN6[4:]
_TUNNEL_OUT = (
    *(
        _out(f"{inner} in {outer}", Send(outgoing(inner)), inner=inner, outer=outer)
        for inner in (4, 6)
        for outer in (4, 6)
    ),
    *(
        _out(
            f"{inner} in UDP of {outer}",
            Send(outgoing(inner)),
            inner=inner,
            outer=outer,
            attributes=encap(),
        )
        for inner in (4, 6)
        for outer in (4, 6)
    ),
    _out("UDP to another port", Send(outgoing()), attributes=encap(2, 4500, 5555)),
    _out("no DF inside", Send(outgoing(df=False))),
    _out("NOPMTUDISC", Send(outgoing()), flags=AF_UNSPEC | 4),
    *(_out(f"TOS {tos:#x}", Send(outgoing(tos=tos))) for tos in (0xB8, 1, 2, 3)),
    _out("traffic class over IPv6", Send(outgoing(6, tos=0xBA)), inner=6, outer=6),
    _out("flow label over IPv6", Send(_LABELLED), inner=6, outer=6),
    _out("DONT_ENCAP_DSCP", Send(outgoing(tos=0xB9)), attributes=number(SA_EXTRA_FLAGS, 1)),
    _out("NOECN", Send(outgoing(tos=0xB9)), flags=AF_UNSPEC | 1),
    _out("TTL 1", Send(outgoing(ttl=1))),
    _out("TFC padding", Send(outgoing()), Send(outgoing()), attributes=number(TFCPAD, 200)),
    _out("large TFC padding", Send(outgoing()), attributes=number(TFCPAD, 60000)),
    *(
        _out(f"{octets} octets of text", Send(outgoing(text=bytes(octets))))
        for octets in (0, 1, 2, 3, 700)
    ),
)
_SEALED = {
    "4 in 4": sealed(incoming()),
    "UDP unasked": sealed(incoming(), outer=Outer(in_udp=(4500, 4500))),
    "another source": sealed(incoming(), outer=Outer(source="192.0.2.9")),
    "no tunnel source inside": sealed(incoming(source="172.16.0.1")),
    "NULL dummy": Outer().packet(esp(b"", NO_NEXT)),
    "IPv6 inside an SA of IPv4": sealed(incoming(6)),
    "wrong next header": Outer().packet(esp(incoming(), IPV6)),
    "UDP as next header": Outer().packet(esp(udp("192.0.2.2", "192.0.2.1", b"x"), UDP)),
    "BEET pseudo header": Outer().packet(esp(struct.pack("!4B", UDP, 1, 0, 0) + bytes(4), BEETPH)),
    "longer than told": Outer().packet(esp(incoming() + bytes(40), IPIP)),
    "shorter than told": Outer().packet(esp(incoming(text=bytes(40))[:-20], IPIP)),
    "empty": Outer().packet(esp(b"", IPIP)),
    "padding too long": Outer().packet(esp(incoming(), IPIP, pad_length=255)),
    "padding of all": Outer().packet(esp(incoming(), IPIP, pad_length=33)),
    "padding of wrong octets": Outer().packet(esp(incoming(), IPIP, padding=bytes)),
    "TTL 1": sealed(incoming(ttl=1)),
    "ECN CE outside": sealed(incoming(tos=2), outer=Outer(tos=3)),
    "ECN CE outside alone": sealed(incoming(tos=0), outer=Outer(tos=3)),
    "ECT outside": sealed(incoming(tos=0), outer=Outer(tos=2)),
    "DSCP outside": sealed(incoming(tos=0x20), outer=Outer(tos=0xB8)),
}
_TUNNEL_IN = (
    *(_in(name, packet) for name, packet in _SEALED.items()),
    *(
        _in(
            f"{inner} in {outer}",
            sealed(incoming(inner), outer=Outer(outer)),
            inner=inner,
            outer=outer,
        )
        for inner, outer in ((6, 4), (4, 6), (6, 6))
    ),
    *(
        _in(
            f"{inner} in UDP of {outer}",
            sealed(incoming(inner), outer=Outer(outer, in_udp=(4500, 4500))),
            inner=inner,
            outer=outer,
            attributes=encap(),
        )
        for inner, outer in ((4, 4), (6, 4), (4, 6), (6, 6))
    ),
    _in("without UDP where asked", sealed(incoming()), attributes=encap()),
    _in(
        "UDP from another port",
        sealed(incoming(), outer=Outer(in_udp=(6000, 4500))),
        attributes=encap(),
    ),
    _in("DECAP_DSCP", sealed(incoming(tos=0x20), outer=Outer(tos=0xB8)), flags=32 | 2),
    _in("NOECN", sealed(incoming(tos=2), outer=Outer(tos=3)), flags=32 | 1),
    _in("UDP keepalive", Outer(in_udp=(4500, 4500)).packet(b"\xff"), attributes=encap()),
    _in("UDP of IKE", Outer(in_udp=(4500, 4500)).packet(bytes(32)), attributes=encap()),
    _in("short UDP", Outer(in_udp=(4500, 4500)).packet(b"\1\2\3"), attributes=encap()),
    _in("no AF_UNSPEC", sealed(incoming()), flags=0),
    _in("no AF_UNSPEC with IPv6 inside", sealed(incoming(6)), inner=6, flags=0),
)


def _beet_out(inner: int, outer: int, attributes: bytes = b"", flags: int = 0) -> Scenario:
    info = sa(
        mode=BEET,
        chosen=_ENDS[inner],
        source=LOCAL[outer],
        destination=REMOTE[outer],
        flags=flags,
    )
    return scenario(
        f"BEET out: {inner} in {outer}{' in UDP' if attributes else ''}",
        out_policy(ANY[inner], templates(out_template(outer, mode=BEET))),
        Ask(NEWSA, info + PLAIN + attributes + _TIED + direction(OUT)),
        Send(outgoing(inner)),
    )


def _beet_in(inner: int, outer: int) -> Scenario:
    info = sa(
        mode=BEET,
        chosen=_BACK[inner],
        source=REMOTE[outer],
        destination=LOCAL[outer],
        flags=0,
    )
    ends = ("10.2.0.1", "10.1.0.1") if inner == 4 else ("fd00:2::1", "fd00:1::1")
    return scenario(
        f"BEET in: {inner} in {outer}",
        in_policy(ANY[inner], templates(in_template(outer, mode=BEET))),
        Ask(NEWSA, info + PLAIN + _TIED + direction(IN)),
        Inject(Outer(outer).packet(esp(udp(*ends, b"beet"), UDP))),
    )


_ROUTE = Run("route add 192.0.2.2/32 dev ipsec1", "route del 192.0.2.2/32 dev ipsec1", inside=True)
_TRANSPORT = (
    scenario(
        "transport out",
        _ROUTE,
        out_policy(ANY4, templates(out_template(mode=TRANSPORT))),
        out_sa(mode=TRANSPORT),
        Send(outgoing(source=LOCAL[4], destination=REMOTE[4])),
    ),
    scenario(
        "transport in",
        in_policy(ANY4, templates(in_template(mode=TRANSPORT))),
        in_sa(mode=TRANSPORT),
        Inject(Outer().packet(esp(udp(REMOTE[4], LOCAL[4], b"x", (PORT, PORT)), UDP))),
    ),
    scenario(
        "transport in for another policy",
        in_policy(ANY4),
        in_sa(mode=TRANSPORT),
        Inject(Outer().packet(esp(udp(REMOTE[4], LOCAL[4], b"x", (PORT, PORT)), UDP))),
    ),
)
_MARKED = (
    Run("rule add fwmark 0x55 lookup 55", "rule del fwmark 0x55 lookup 55"),
    Run("route add 192.0.2.2 via 192.0.2.3 table 55", "route flush table 55"),
)
_OUTPUT_MARK = (
    scenario(
        "output mark",
        *_MARKED,
        out_policy(),
        out_sa(PLAIN + output_mark(0x55)),
        Send(outgoing()),
    ),
    scenario(
        "output mark with a mask",
        *_MARKED,
        out_policy(),
        out_sa(PLAIN + output_mark(0x1055, 0xFF)),
        Send(outgoing()),
    ),
    scenario(
        "output mark of another table",
        *_MARKED,
        out_policy(),
        out_sa(PLAIN + output_mark(0x54)),
        Send(outgoing()),
    ),
    scenario("no output mark", *_MARKED, out_policy(), out_sa(), Send(outgoing(), mark=0x55)),
    scenario(
        "output mark in UDP",
        *_MARKED,
        out_policy(),
        out_sa(PLAIN + output_mark(0x55) + encap()),
        Send(outgoing()),
    ),
)
_STATE = (
    scenario(
        "counters of an SA",
        out_policy(),
        out_sa(),
        in_policy(),
        in_sa(spi=0x2000),
        Send(outgoing()),
        Send(outgoing(text=bytes(100))),
        receives(incoming(), spi=0x2000),
        dump_sas(any_order=True),
    ),
)

SCENARIOS: tuple[Scenario, ...] = (
    *_TUNNEL_OUT,
    *_TUNNEL_IN,
    *(_beet_out(inner, outer) for inner in (4, 6) for outer in (4, 6)),
    _beet_out(4, 4, encap()),
    *(_beet_in(inner, outer) for inner in (4, 6) for outer in (4, 6)),
    *_TRANSPORT,
    *_OUTPUT_MARK,
    *_STATE,
)
