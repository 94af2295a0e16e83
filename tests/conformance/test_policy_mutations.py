"""Requests about policies that are cut short or nearly right: kernel and engine answer alike."""

import struct

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from tests.support.both_planes import (
    HTHRESH4,
    HTHRESH6,
    MIGRATE_LIST,
    OFFLOAD_DEV,
    POLICY_TYPE,
    Both,
    if_id,
    mark,
    templates,
)
from tests.support.policy_wire import (
    expire,
    migration,
    policy,
    policy_id,
    selector,
    template,
)
from tests.support.raw_plane import (
    DELPOLICY,
    FLUSHPOLICY,
    GETDEFAULT,
    GETPOLICY,
    GETSPDINFO,
    MIGRATE,
    NEWPOLICY,
    NEWSPDINFO,
    POLEXPIRE,
    SETDEFAULT,
    UPDPOLICY,
    attribute,
)

pytestmark = pytest.mark.root


def comparable(kind: int, payload: bytes) -> bool:
    """Whether a request asks for nothing that the planes were built to do differently."""
    fixed = {NEWPOLICY: 168, UPDPOLICY: 168, DELPOLICY: 64, GETPOLICY: 64, POLEXPIRE: 176}
    fixed |= {MIGRATE: 64, FLUSHPOLICY: 0, GETSPDINFO: 4, NEWSPDINFO: 4}
    at = fixed.get(kind, 4)
    while at + 4 <= len(payload):
        length, number = struct.unpack_from("=HH", payload, at)
        if length < 4:
            break
        content = payload[at + 4 : at + length]
        number &= 0x3FFF
        if number == OFFLOAD_DEV or (number == POLICY_TYPE and content[:1] == b"\1"):
            return False
        at += length + 3 & ~3
    return True


WELL_FORMED = (
    (NEWPOLICY, policy() + templates(template(), template(mode=0)) + mark(1, 3) + if_id(2)),
    (UPDPOLICY, policy(selector("2001:db8::", "::")) + templates(template(family=10))),
    (DELPOLICY, policy_id() + mark(1, 3) + if_id(2)),
    (GETPOLICY, policy_id() + mark(1, 3) + if_id(2)),
    (POLEXPIRE, expire(policy(), hard=1) + mark(1, 3) + if_id(2)),
    (MIGRATE, policy_id() + attribute(MIGRATE_LIST, migration()) + mark(1, 3) + if_id(2)),
    (FLUSHPOLICY, attribute(POLICY_TYPE, bytes(6))),
    (GETSPDINFO, bytes(4) + if_id(2)),
    (NEWSPDINFO, bytes(4) + attribute(HTHRESH4, b"\x20\x20") + attribute(HTHRESH6, b"\x80\x80")),
    (SETDEFAULT, b"\2\2\2\0" + if_id(1)),
    (GETDEFAULT, bytes(4) + if_id(1)),
)


def same(both: Both, kind: int, payload: bytes) -> None:
    """Ask both, but for the kernel's hash figures, which change in its own time."""
    if kind in {NEWPOLICY, UPDPOLICY, POLEXPIRE} and len(payload) >= 168:
        payload = payload[:88] + bytes(32) + payload[120:]  # no limits of time
    if kind == GETSPDINFO:
        answers = [plane.ask(kind, payload)[-1] for plane in (both.kernel, both.engine)]
        assert answers[0] == answers[1]
    elif comparable(kind, payload):
        both.ask(kind, payload)


def test_every_truncation_is_answered_the_same(both: Both) -> None:
    for kind, payload in WELL_FORMED:
        for length in range(len(payload) + 1):
            same(both, kind, payload[:length])
    both.dump()


octets = st.integers(0, 255)


@st.composite
def mutated(draw: st.DrawFn) -> tuple[int, bytes]:
    """A request that is nearly right: some octets changed, attributes of any number added."""
    kind, told = draw(st.sampled_from(WELL_FORMED))
    payload = bytearray(told)
    for _change in range(draw(st.integers(0, 3))):
        payload[draw(st.integers(0, len(payload) - 1))] = draw(octets)
    for _more in range(draw(st.integers(0, 2))):
        content = draw(st.binary(max_size=90))
        payload += attribute(draw(st.integers(0, 45)), content)
    if draw(st.booleans()):
        payload += draw(st.binary(max_size=20))
    return kind, bytes(payload)


def test_mutated_requests_are_answered_the_same(both: Both) -> None:
    @seed(7)
    @settings(
        max_examples=2500,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(mutated())
    def answered_the_same(request: tuple[int, bytes]) -> None:
        same(both, *request)

    answered_the_same()
    both.dump()
