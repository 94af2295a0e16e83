"""MIGRATE_STATE: one SA goes to other addresses; what is left out of the request is inherited."""

import struct

from tests.guest_inside.conformance.packets import incoming, outgoing
from tests.guest_inside.conformance.scenario import (
    ALLOCSPI,
    ANY4,
    MIGRATE_STATE,
    NEWSA,
    Ask,
    Inject,
    Scenario,
    Send,
    dump_sas,
    in_policy,
    in_sa,
    out_policy,
    out_sa,
    receives,
    scenario,
)
from tests.support.policy_wire import NO_LIMITS, address, selector
from tests.support.raw_plane import ACK, REQUEST
from tests.support.sa_wire import (
    AF_UNSPEC,
    LOCAL,
    MTIMER_THRESH,
    NAT_KEEPALIVE_INTERVAL,
    OUT,
    PLAIN,
    REMOTE,
    direction,
    encap,
    if_id,
    mark,
    number,
    output_mark,
    replay_esn,
    sa,
    sa_id,
    spi_info,
)

_SINCE = (7, 2)
_ELSEWHERE = "192.0.2.3"
_CLEAR_OFFLOAD, _HOST_TO_HOST = 1, 2
_HOSTS = selector(LOCAL[4], REMOTE[4], prefixes=(32, 32))


def _moves(
    attributes: bytes = b"",
    *,
    name: bytes | None = None,
    destination: str = _ELSEWHERE,
    source: str = LOCAL[4],
    old_mark: tuple[int, int] = (0, 0),
    chosen: bytes = ANY4,
    reqid: int = 7,
    flags: int = 0,
    family: int = 2,
    reserved: int = 0,
) -> Ask:
    told = (name or sa_id()) + address(destination) + address(source)
    told += struct.pack("=II", *old_mark) + chosen
    told += struct.pack("=IIHH", reqid, flags, family, reserved)
    return Ask(MIGRATE_STATE, told + attributes)


def _between_hosts(chosen: bytes = _HOSTS) -> Ask:
    return Ask(NEWSA, sa(chosen=chosen, flags=0) + PLAIN + if_id() + direction(OUT))


_OUT = out_sa()
_IN_UDP = out_sa(PLAIN + encap())
_IN_NAME = sa_id(destination=LOCAL[4])
_REFUSED: dict[str, tuple[Ask, ...]] = {
    "of nothing": (_moves(),),
    "of SPI 0": (_moves(name=sa_id(spi=0)),),
    "of another SPI": (_OUT, _moves(name=sa_id(spi=9))),
    "of a family that is none": (_OUT, _moves(name=sa_id(family=3))),
    "with a reserved field": (_OUT, _moves(reserved=1)),
    "with unknown flags": (_OUT, _moves(flags=0x14)),
    "to a family that is none": (_OUT, _moves(family=3)),
    "to no family": (_OUT, _moves(family=0)),
    "to a wrong prefix": (_OUT, _moves(chosen=selector(prefixes=(33, 0)))),
    "to a selector of a family that is none": (_OUT, _moves(chosen=selector(family=3))),
    "short": (_OUT, Ask(MIGRATE_STATE, _moves().payload[:-1])),
    "to a place that is taken": (
        _OUT,
        Ask(NEWSA, sa(destination=_ELSEWHERE) + PLAIN),
        _moves(),
    ),
    "of another mark": (out_sa(PLAIN + mark(1)), _moves(old_mark=(2, 3))),
    "of an encapsulation that is none": (_OUT, _moves(encap(9))),
    "with keepalives without UDP": (_OUT, _moves(number(NAT_KEEPALIVE_INTERVAL, 3))),
    "with a mapping's age without UDP": (_OUT, _moves(number(MTIMER_THRESH, 3))),
    "with a mapping's age going out": (_IN_UDP, _moves(number(MTIMER_THRESH, 3))),
    "between hosts and is not": (_OUT, _moves(flags=_HOST_TO_HOST)),
    "of a larval SA": (
        Ask(ALLOCSPI, spi_info(sa(), 0x1000, 0x1000)),
        _moves(),
    ),
}
_TAKEN: dict[str, tuple[Ask | Send | Inject, ...]] = {
    "to another address": (_OUT, _moves()),
    "to the same address": (_OUT, _moves(destination=REMOTE[4])),
    "from another source": (_OUT, _moves(destination=REMOTE[4], source="192.0.2.77")),
    "to another reqid": (_OUT, _moves(reqid=70)),
    "to no reqid": (_OUT, _moves(reqid=0)),
    "to another selector": (_OUT, _moves(chosen=selector())),
    "to a selector of no family": (_OUT, _moves(chosen=bytes(56))),
    "to another family": (
        _OUT,
        _moves(destination="2001:db8::3", source="2001:db8::1", family=10),
    ),
    "of a mark": (out_sa(PLAIN + mark(1, 3)), _moves(old_mark=(1, 3))),
    "to another mark": (_OUT, _moves(mark(5, 7))),
    "to another mark at the same address": (_OUT, _moves(mark(5, 7), destination=REMOTE[4])),
    "in UDP": (_IN_UDP, _moves()),
    "into UDP": (_OUT, _moves(encap())),
    "to other ports": (_IN_UDP, _moves(encap(2, 4500, 5555))),
    "out of UDP": (_IN_UDP, _moves(encap(0))),
    "with keepalives": (_IN_UDP, _moves(number(NAT_KEEPALIVE_INTERVAL, 30))),
    "with an output mark": (_OUT, _moves(output_mark(5, 7))),
    "of an output mark": (out_sa(PLAIN + output_mark(5)), _moves()),
    "without offload": (_OUT, _moves(flags=_CLEAR_OFFLOAD)),
    "between hosts": (_between_hosts(), _moves(flags=_HOST_TO_HOST)),
    "between hosts of another selector": (_between_hosts(selector()), _moves(flags=_HOST_TO_HOST)),
    "with another direction": (_OUT, _moves(direction(1))),
    "with another if_id": (_OUT, _moves(if_id(2))),
    "with limits": (
        Ask(NEWSA, sa(limits=(1, 2, 3, 4, *NO_LIMITS[4:])) + PLAIN + if_id()),
        _moves(),
    ),
    "with a window": (
        in_sa(window=32),
        _moves(name=_IN_NAME, destination=LOCAL[4], source=REMOTE[4]),
    ),
    "with ESN": (
        Ask(NEWSA, sa(flags=AF_UNSPEC | 128) + PLAIN + replay_esn(1, 32, oseq=5, seq=9)),
        _moves(),
    ),
    "without acknowledgement's echo": (
        _OUT,
        Ask(MIGRATE_STATE, _moves().payload, REQUEST | ACK | 8),
    ),
}
_PACKETS: dict[str, tuple[Ask | Send | Inject, ...]] = {
    "and sends before and after": (
        out_policy(),
        _OUT,
        Send(outgoing()),
        _moves(destination=REMOTE[4]),
        Send(outgoing()),
    ),
    "into UDP and sends": (
        out_policy(),
        _OUT,
        Send(outgoing()),
        _moves(encap(), destination=REMOTE[4]),
        Send(outgoing()),
    ),
    "and receives before and after": (
        in_policy(),
        in_sa(window=32),
        receives(incoming(), sequence=1),
        receives(incoming(), sequence=3),
        _moves(name=_IN_NAME, destination=LOCAL[4], source=REMOTE[4]),
        receives(incoming(), sequence=3),
        receives(incoming(), sequence=2),
        receives(incoming(), sequence=4),
    ),
}

SCENARIOS: tuple[Scenario, ...] = (
    *(
        scenario(name, *steps, dump_sas(any_order=True), since=_SINCE)
        for group in (_REFUSED, _TAKEN, _PACKETS)
        for name, steps in group.items()
    ),
)
