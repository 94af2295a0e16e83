"""Limits by packets, octets and seconds, and asynchronous events about replay and lifetime."""

from tests.guest_inside.conformance.packets import incoming, outgoing
from tests.guest_inside.conformance.scenario import (
    ANY4,
    EXPIRE,
    GETAE,
    NEWAE,
    NEWSA,
    UPDSA,
    Ask,
    Inject,
    Scenario,
    Send,
    Until,
    dump_policies,
    dump_sas,
    in_policy,
    in_sa,
    out_policy,
    out_template,
    receives,
    scenario,
    templates,
)
from tests.support.policy_wire import INFINITE, policy
from tests.support.raw_plane import ACK, NEWPOLICY, REQUEST
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


def _seconds(
    soft_added: int = 0, hard_added: int = 0, soft_used: int = 0, hard_used: int = 0
) -> tuple[int, ...]:
    return (_INF, _INF, _INF, _INF, soft_added, hard_added, soft_used, hard_used)


def _out_sa(limits: tuple[int, ...], kind: int = NEWSA, spi: int = 0x1000) -> Ask:
    info = sa(limits=limits, source=LOCAL[4], destination=REMOTE[4], spi=spi)
    return Ask(kind, info + PLAIN + _TIED + direction(OUT))


def _in_sa(limits: tuple[int, ...]) -> Ask:
    return Ask(
        NEWSA,
        sa(limits=limits, source=REMOTE[4], destination=LOCAL[4]) + PLAIN + _TIED + direction(IN),
    )


def _out_policy(limits: tuple[int, ...]) -> Ask:
    info = policy(ANY4, limits=limits)
    return Ask(NEWPOLICY, info + templates(out_template()) + if_id())


_UNLIMITED = _seconds()
_OUT, _IN = Send(outgoing()), receives(incoming())
_TIMES: dict[str, tuple[Ask | Send | Inject | Until, ...]] = {
    "soft since added": (Until(_out_sa(_seconds(1)), 2), dump_sas()),
    "hard since added": (out_policy(), Until(_out_sa(_seconds(0, 1)), 2), dump_sas()),
    "soft and hard since added": (Until(_out_sa(_seconds(1, 3)), 3), dump_sas()),
    "soft and hard at once": (Until(_out_sa(_seconds(1, 1)), 2), dump_sas()),
    "soft after hard": (Until(_out_sa(_seconds(3, 1)), 2), dump_sas()),
    "soft since used": (out_policy(), _out_sa(_seconds(0, 0, 1)), Until(_OUT, 1), dump_sas()),
    "hard since used": (out_policy(), _out_sa(_seconds(0, 0, 0, 1)), Until(_OUT, 1), dump_sas()),
    "soft and hard since used": (
        out_policy(),
        _out_sa(_seconds(0, 0, 1, 3)),
        Until(_OUT, 2),
        dump_sas(),
    ),
    "soft since used coming in": (
        in_policy(),
        _in_sa(_seconds(0, 0, 1)),
        Until(_IN, 1),
        dump_sas(),
    ),
    "hard since used coming in": (
        in_policy(),
        _in_sa(_seconds(0, 0, 0, 1)),
        Until(_IN, 1),
        receives(incoming(), sequence=2),
        dump_sas(),
    ),
    "never used": (
        _out_sa(_seconds(0, 0, 1, 1)),
        Until(_out_sa(_seconds(0, 3), spi=0x2000), 2),
        dump_sas(),
    ),
    "soft since added and hard since used": (
        out_policy(),
        Until(_out_sa(_seconds(1, 0, 0, 1)), 2),
        Until(_OUT, 1),
        dump_sas(),
    ),
    "by an update": (
        _out_sa(_UNLIMITED),
        Until(_out_sa(_seconds(0, 1), UPDSA), 2),
        dump_sas(),
    ),
    "of a policy, soft since added": (Until(_out_policy(_seconds(1)), 2), dump_policies()),
    "of a policy, hard since added": (
        _out_sa(_UNLIMITED),
        Until(_out_policy(_seconds(0, 1)), 2),
        _OUT,
        dump_policies(),
    ),
    "of a policy, soft and hard since added": (
        Until(_out_policy(_seconds(1, 3)), 3),
        dump_policies(),
    ),
    "of a policy, soft since used": (
        _out_sa(_UNLIMITED),
        _out_policy(_seconds(0, 0, 3)),
        Until(_OUT, 1),
        dump_policies(),
    ),
    "of a policy, hard since used": (
        _out_sa(_UNLIMITED),
        _out_policy(_seconds(0, 0, 0, 3)),
        Until(_OUT, 1),
        dump_policies(),
    ),
    "of a policy that is never used": (Until(_out_policy(_seconds(0, 0, 0, 1)), 2),),
}

SCENARIOS: tuple[Scenario, ...] = (
    *(_out(name, limits) for name, limits in _CASES.items()),
    *(_in(name, limits) for name, limits in _CASES.items()),
    *(scenario(f"aevents: {name}", *steps) for name, steps in _EVENTS.items()),
    *(scenario(f"seconds: {name}", *steps) for name, steps in _TIMES.items()),
)
