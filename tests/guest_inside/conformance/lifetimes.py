"""Limits by packets and octets, and asynchronous events about replay and lifetime."""

from tests.guest_inside.conformance.packets import incoming, outgoing
from tests.guest_inside.conformance.scenario import (
    EXPIRE,
    GETAE,
    NEWAE,
    NEWSA,
    UPDSA,
    Ask,
    Inject,
    Scenario,
    Send,
    dump_sas,
    in_policy,
    in_sa,
    out_policy,
    receives,
    scenario,
)
from tests.support.policy_wire import INFINITE
from tests.support.raw_plane import ACK, REQUEST
from tests.support.sa_wire import (
    ETIMER_THRESH,
    IN,
    LOCAL,
    OUT,
    PLAIN,
    REMOTE,
    REPLAY_THRESH,
    aead,
    aevent_id,
    direction,
    if_id,
    lifetime,
    mark,
    number,
    replay,
    replay_esn,
    sa,
    sa_expire,
    sa_id,
)

_INF = INFINITE
_TIED = if_id() + number(ETIMER_THRESH, 0)


def _limits(
    soft_octets: int = _INF,
    hard_octets: int = _INF,
    soft_packets: int = _INF,
    hard_packets: int = _INF,
) -> tuple[int, ...]:
    return (soft_octets, hard_octets, soft_packets, hard_packets, 0, 0, 0, 0)


_CASES = {
    "soft packets": _limits(soft_packets=2),
    "hard packets": _limits(hard_packets=2),
    "soft and hard packets": _limits(soft_packets=1, hard_packets=3),
    "soft octets": _limits(soft_octets=60),
    "hard octets": _limits(hard_octets=60),
    "no packets at all": _limits(hard_packets=0),
    "no octets at all": _limits(hard_octets=0),
    "soft of none": _limits(soft_packets=0),
}


def _out(name: str, limits: tuple[int, ...]) -> Scenario:
    info = sa(limits=limits, source=LOCAL[4], destination=REMOTE[4])
    return scenario(
        f"out: {name}",
        out_policy(),
        Ask(NEWSA, info + PLAIN + _TIED + direction(OUT)),
        *(Send(outgoing(text=bytes([at]))) for at in range(4)),
        dump_sas(),
    )


def _in(name: str, limits: tuple[int, ...]) -> Scenario:
    info = sa(limits=limits, source=REMOTE[4], destination=LOCAL[4])
    return scenario(
        f"in: {name}",
        in_policy(),
        Ask(NEWSA, info + PLAIN + _TIED + direction(IN)),
        *(receives(incoming(), sequence=at) for at in range(1, 5)),
        dump_sas(),
    )


_NAME = sa_id(destination=LOCAL[4])
_IN_AE = aevent_id(name=_NAME, source=REMOTE[4])


def _arrives(*sequences: int) -> tuple[Inject, ...]:
    return tuple(receives(incoming(), sequence=one) for one in sequences)


_EVENTS: dict[str, tuple[Ask | Send | Inject, ...]] = {
    "get of none": (Ask(GETAE, aevent_id()),),
    "get with all flags": (
        Ask(NEWSA, sa() + aead() + number(REPLAY_THRESH, 5) + number(ETIMER_THRESH, 6)),
        *(Ask(GETAE, aevent_id(flags=1 << bit)) for bit in range(8)),
        Ask(GETAE, aevent_id(flags=0xFF)),
        Ask(GETAE, aevent_id(source="192.0.2.9", reqid=99)),
        Ask(GETAE, aevent_id() + mark(1)),
        Ask(GETAE, aevent_id()[:-1]),
    ),
    "get of ESN": (
        Ask(NEWSA, sa(flags=128) + aead() + replay_esn(1, 32, oseq=5, seq=9, bitmap=(1,))),
        Ask(GETAE, aevent_id(flags=0xF)),
    ),
    "set": (
        Ask(NEWSA, sa(window=32) + aead()),
        Ask(NEWAE, aevent_id() + replay(5, 6, 7)),
        Ask(NEWAE, aevent_id() + replay(5, 6, 7), REQUEST | ACK | 0x100),
        Ask(NEWAE, aevent_id() + lifetime(1, 2, 3, 4), REQUEST | ACK | 0x100),
        Ask(NEWAE, aevent_id(flags=0x40) + number(REPLAY_THRESH, 5), REQUEST | ACK | 0x100),
        Ask(NEWAE, aevent_id() + number(ETIMER_THRESH, 5), REQUEST | ACK | 0x100),
        Ask(NEWAE, aevent_id(), REQUEST | ACK | 0x100),
        Ask(
            NEWAE,
            aevent_id() + replay_esn(1, 32),
            REQUEST | ACK | 0x100,
        ),
        Ask(GETAE, aevent_id(flags=0xF)),
        dump_sas(),
    ),
    "set of ESN": (
        Ask(NEWSA, sa(flags=128) + aead() + replay_esn(1, 32)),
        Ask(NEWAE, aevent_id() + replay_esn(1, 32, oseq=5, seq=6), REQUEST | ACK | 0x100),
        Ask(NEWAE, aevent_id() + replay_esn(2, 64), REQUEST | ACK | 0x100),
        Ask(NEWAE, aevent_id() + replay_esn(1, 16), REQUEST | ACK | 0x100),
        Ask(NEWAE, aevent_id() + replay_esn(1, 32, bitmap=()), REQUEST | ACK | 0x100),
        Ask(NEWAE, aevent_id() + replay(5), REQUEST | ACK | 0x100),
        dump_sas(),
    ),
    "set of none": (Ask(NEWAE, aevent_id() + replay(5), REQUEST | ACK | 0x100),),
    "threshold of packets": (
        in_policy(),
        in_sa(PLAIN + number(REPLAY_THRESH, 2), window=32),
        *_arrives(1, 2, 3, 4, 5, 6),
    ),
    "threshold of packets with a bitmap": (
        in_policy(),
        in_sa(
            PLAIN + number(REPLAY_THRESH, 2) + replay_esn(2, 64),
        ),
        *_arrives(1, 2, 3, 9),
    ),
    "expiry by request": (
        Ask(EXPIRE, sa_expire(sa(), 0)),
        Ask(NEWSA, sa() + aead() + if_id(3)),
        Ask(EXPIRE, sa_expire(sa(), 0)),
        Ask(EXPIRE, sa_expire(sa(), 1)),
        dump_sas(),
    ),
    "limits by an update": (
        out_policy(),
        Ask(NEWSA, sa() + PLAIN + _TIED + direction(OUT)),
        Send(outgoing()),
        Ask(
            UPDSA,
            sa(limits=_limits(hard_packets=2)) + PLAIN + _TIED + direction(OUT),
        ),
        Send(outgoing()),
        Send(outgoing()),
    ),
}

SCENARIOS: tuple[Scenario, ...] = (
    *(_out(name, limits) for name, limits in _CASES.items()),
    *(_in(name, limits) for name, limits in _CASES.items()),
    *(scenario(f"aevents: {name}", *steps) for name, steps in _EVENTS.items()),
)
