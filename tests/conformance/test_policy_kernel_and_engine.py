"""The same requests about policies to this machine's kernel and to the engine: the same answers.

Left out is what this kernel and the engine were built to do differently: sub policies (the engine
has none, like a kernel without CONFIG_XFRM_SUB_POLICY), policies on devices (this kernel may lack
CONFIG_XFRM_OFFLOAD and then ignores the attribute).
"""

import random
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from tests.support.engine import engine_process
from tests.support.namespace import fresh_namespace
from tests.support.policy_wire import (
    INFINITE,
    NO_LIMITS,
    expire,
    migration,
    policy,
    policy_id,
    selector,
    template,
)
from tests.support.raw_plane import (
    ACK,
    DELPOLICY,
    DUMP,
    FLUSHPOLICY,
    GETDEFAULT,
    GETPOLICY,
    GETSPDINFO,
    MIGRATE,
    NEWPOLICY,
    NEWSPDINFO,
    POLEXPIRE,
    REQUEST,
    SETDEFAULT,
    UPDPOLICY,
    RawPlane,
    Reply,
    attribute,
)
from tests.support.until import until

pytestmark = pytest.mark.root

TMPL, SEC_CTX, POLICY_TYPE, MIGRATE_LIST, KMADDRESS, MARK, ENCAP = 5, 8, 16, 17, 19, 21, 4
OFFLOAD_DEV, IF_ID, SA_DIR, SA_PCPU = 28, 31, 33, 35
HTHRESH4, HTHRESH6 = 3, 4


class Both:
    """Kernel and engine, asked the same."""

    def __init__(self, kernel: RawPlane, engine: RawPlane) -> None:
        self.kernel = kernel
        self.engine = engine

    def ask(
        self, kind: int, payload: bytes = b"", *, flags: int = REQUEST | ACK, port: int = 0
    ) -> list[Reply]:
        """What both answer; answers and notifications must be the same octets."""
        expected = self.kernel.ask(kind, payload, flags=flags, port=port)
        told = self.kernel.events()
        assert self.engine.ask(kind, payload, flags=flags, port=port) == expected
        assert self.engine.events() == told
        return expected

    def settle(self, kind: int, payload: bytes) -> None:
        """The same when the kernel has done what it does later."""
        until(
            lambda: self.kernel.ask(kind, payload) == self.engine.ask(kind, payload),
            f"both answer {kind:#x} alike",
        )
        self.ask(kind, payload)

    def errno(self, kind: int, payload: bytes = b"") -> tuple[int, str]:
        """Errno and words of the acknowledgement."""
        last = self.ask(kind, payload)[-1]
        return last.errno, last.words

    def dump(self) -> list[Reply]:
        """All policies, the end apart."""
        return self.ask(GETPOLICY, flags=REQUEST | DUMP)[:-1]


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Both]:
    with (
        engine_process(tmp_path) as path,
        fresh_namespace(),
        RawPlane.kernel() as kernel,
        RawPlane.engine(path) as engine,
    ):
        yield Both(kernel, engine)


def mark(value: int, mask: int) -> bytes:
    return attribute(MARK, struct.pack("=II", value, mask))


def if_id(number: int) -> bytes:
    return attribute(IF_ID, struct.pack("=I", number))


def templates(*all_of_them: bytes) -> bytes:
    return attribute(TMPL, b"".join(all_of_them))


INVALID_POLICIES = {
    "share": policy(share=4),
    "action": policy(action=2),
    "family": policy(selector(family=3)),
    "no family": policy(selector(family=0)),
    "prefix": policy(selector(prefixes=(33, 0))),
    "prefix 6": policy(selector("2001:db8::", "::", prefixes=(0, 129))),
    "direction": policy(direction=3),
    "index of another direction": policy(index=8),
    "share before action": policy(share=4, action=2),
    "action before family": policy(selector(family=3), action=9),
    "family before direction": policy(selector(family=3), direction=9),
    "direction before index": policy(direction=3, index=8),
    "sec_ctx": policy() + attribute(SEC_CTX, struct.pack("=HHBBH", 10, 8, 0, 0, 0)),
    "sec_ctx before type": policy()
    + attribute(SEC_CTX, struct.pack("=HHBBH", 10, 8, 0, 0, 0))
    + attribute(POLICY_TYPE, b"\2" + bytes(5)),
    "type": policy() + attribute(POLICY_TYPE, b"\2" + bytes(5)),
    "type before templates": policy()
    + templates(template(mode=9))
    + attribute(POLICY_TYPE, b"\2" + bytes(5)),
    "too many templates": policy() + templates(*[template()] * 7),
    "mode": policy() + templates(template(mode=6)),
    "family before mode": policy() + templates(template(mode=6, family=10)),
    "optional": policy() + templates(template(optional=1)),
    "template family": policy() + templates(template(family=3)),
    "family change": policy() + templates(template(mode=0, family=10)),
    "family change in between": policy()
    + templates(template(family=10), template(mode=0, family=2)),
    "protocol": policy() + templates(template(protocol=17)),
    "any protocol": policy() + templates(template(protocol=255)),
    "SA_DIR": policy() + attribute(SA_DIR, b"\1"),
    "SA_PCPU": policy() + attribute(SA_PCPU, bytes(4)),
    "short": policy()[:-1],
    "empty": b"",
    "short template": policy() + attribute(TMPL, bytes(63)),
    "short mark": policy() + attribute(MARK, bytes(7)),
    "nested SA_DIR": policy() + attribute(SA_DIR | 0x8000, b"\1"),
    "SA_DIR out of range": policy() + attribute(SA_DIR, b"\3"),
}


@pytest.mark.parametrize("name", INVALID_POLICIES)
def test_refusals_are_the_same(both: Both, name: str) -> None:
    for kind in (NEWPOLICY, UPDPOLICY):
        errno, words = both.errno(kind, INVALID_POLICIES[name])
        assert errno != 0
        assert words
    assert both.dump() == []


VALID_POLICIES = {
    "plain": policy(),
    "junk beyond the prefix": policy(selector("10.1.2.3", "10.2.3.4", padding=b"\1\2\3")),
    "template of no family": policy() + templates(template(family=0)),
    "template with junk": policy() + templates(template(holes=0xA5)),
    "six templates": policy() + templates(*[template(reqid=n) for n in range(6)]),
    "half a template more": policy() + templates(template(), bytes(40)),
    "a tunnel of another family": policy()
    + templates(template(family=10), template(mode=0, family=10)),
    "IPTFS, triggered and others": policy(direction=0)
    + templates(*[template(mode=n, optional=1) for n in range(6)]),
    "mark beyond its mask": policy() + mark(0x1F5, 0xF0),
    "mark without mask": policy() + mark(5, 0),
    "if_id": policy() + if_id(5),
    "if_id twice": policy() + if_id(5) + if_id(6),
    "long if_id": policy() + attribute(IF_ID, b"\7\0\0\0\1\2\3\4"),
    "type": policy() + attribute(POLICY_TYPE, bytes(6)),
    "sec_ctx": policy() + attribute(SEC_CTX, struct.pack("=HHBBH", 8, 8, 0, 0, 0)),
    "limits": policy(limits=(1, 2, 3, 4, 0, 0, 0, 0)),
    "flags and share": policy(flags=0xFF, share=3),
    "index": policy(index=0x109),
    "octets left over": policy() + b"\1\0\0\0",
    "unknown attribute": policy() + attribute(99, b"abc"),
    "IPv6 and ports": policy(
        selector(
            "2001:db8::1",
            "::",
            prefixes=(128, 0),
            protocol=17,
            ports=(53, 0xFFFF, 0x1100, 0xFF00),
            ifindex=7,
            user=1000,
        )
    ),
}


@pytest.mark.parametrize("name", VALID_POLICIES)
def test_a_policy_is_kept_and_told_the_same(both: Both, name: str) -> None:
    told = VALID_POLICIES[name]
    both.ask(NEWPOLICY, told, port=77)
    (kept,) = both.dump()
    assert both.errno(NEWPOLICY, told)[0] == 17
    both.ask(UPDPOLICY, told)
    attributes = told[168:]
    direction, index = told[160], struct.unpack_from("=I", kept.payload, 156)[0]
    for kind in (GETPOLICY, DELPOLICY):
        # Whether a mark or a selector with junk is found again is what both must agree on.
        both.ask(kind, policy_id(told[:56], direction=direction) + attributes)
        both.ask(kind, policy_id(told[:56], direction=2) + attributes)
        both.ask(kind, policy_id(told[:56], direction=3) + attributes)
        both.ask(kind, policy_id(bytes(56), direction=direction, index=index) + attributes)
        both.ask(kind, policy_id(bytes(56), direction=direction, index=index + 1) + attributes)
        both.ask(kind, policy_id(selector(), direction=direction))
        both.ask(kind, policy_id(selector(user=1), direction=direction))
    both.dump()


def test_indices_and_order_of_a_dump(both: Both) -> None:
    for number in range(4):
        for direction in (0, 1, 2):
            both.ask(NEWPOLICY, policy(selector(prefixes=(number, 0)), direction=direction))
    both.ask(NEWPOLICY, policy(selector(prefixes=(9, 0)), index=9))  # taken
    both.ask(NEWPOLICY, policy(selector(prefixes=(10, 0)), index=0x801))
    both.ask(UPDPOLICY, policy(selector(prefixes=(2, 0)), priority=7, index=0x901))
    both.ask(DELPOLICY, policy_id(selector(prefixes=(3, 0))))
    both.ask(NEWPOLICY, policy(selector(prefixes=(11, 0))))
    assert len(both.dump()) == 14


def test_flush(both: Both) -> None:
    assert both.errno(FLUSHPOLICY) == (0, "")  # and nobody is told
    both.ask(NEWPOLICY, policy())
    assert both.errno(FLUSHPOLICY, attribute(POLICY_TYPE, b"\2" + bytes(5)))[0] == 22
    both.ask(FLUSHPOLICY, attribute(POLICY_TYPE, bytes(6)), port=5)
    assert both.dump() == []
    both.ask(NEWPOLICY, policy())  # its index goes on from there


def test_expiry_that_a_key_manager_tells_of(both: Both) -> None:
    both.ask(NEWPOLICY, policy() + templates(template()) + mark(1, 3) + if_id(4))
    identity = mark(1, 3) + if_id(4)
    for payload in (
        expire(policy(), hard=0),
        expire(policy(direction=3), hard=0) + identity,
        expire(policy(index=2), hard=0) + identity,
        expire(policy(), hard=1)[:-1],
        expire(policy(), hard=0) + identity,
        expire(policy(selector(family=9)), hard=1) + identity,
        expire(policy(index=1), hard=5) + identity,
        expire(policy(), hard=1) + identity,
    ):
        both.ask(POLEXPIRE, payload, port=99)
    assert both.dump() == []


def test_defaults(both: Both) -> None:
    for wanted in (b"\1\0\0", b"\3\2\1\0", b"\2\1\2", b"\0\0\0", b"\1\1", b""):
        both.ask(SETDEFAULT, wanted, port=3)
        both.ask(GETDEFAULT, wanted)
        both.ask(GETDEFAULT, b"\0\0\0")


def test_figures(both: Both) -> None:
    for wanted in (
        attribute(HTHRESH4, b"\x21\0"),
        attribute(HTHRESH4, b"\x10\x18"),
        attribute(HTHRESH6, b"\0\x81"),
        attribute(HTHRESH6, b"\x40\x30\x20") + attribute(IF_ID, b""),
        attribute(HTHRESH6, b"\x40"),
        attribute(HTHRESH4, b"\0\0") + attribute(HTHRESH6, b"\xff\0"),
        attribute(1, b""),
        b"\1",
    ):
        both.ask(NEWSPDINFO, b"abcd" + wanted)
        both.ask(GETSPDINFO, b"abcd" + attribute(99, b""))
    both.ask(NEWSPDINFO, b"abc")
    both.ask(GETSPDINFO, b"abc")
    for number in range(40):
        direction = (0, 1, 1, 2)[number % 4]
        both.ask(
            NEWPOLICY, policy(selector(prefixes=(number % 33, number)), direction=direction)[:168]
        )
        both.settle(GETSPDINFO, b"\xff" * 4)  # the kernel resizes its hash tables by and by


def test_types_and_flags(both: Both) -> None:
    # 0x29 is MIGRATE_STATE, which kernels have only since 7.2.
    for kind in (*range(16), 0x22, *range(0x2A, 0x30), 0x7F):
        both.ask(kind, policy())
    both.ask(NEWPOLICY, policy(), flags=ACK)  # no request: it is acknowledged and not looked at
    assert both.dump() == []
    both.ask(NEWPOLICY, policy(), flags=REQUEST | ACK | DUMP)
    for flags in (0x100, 0x200, DUMP, DUMP | ACK):
        both.ask(GETPOLICY, b"", flags=REQUEST | flags)
    both.ask(GETPOLICY, b"")


def test_migrate(both: Both) -> None:
    both.ask(NEWPOLICY, policy(selector(prefixes=(0, 0))) + templates(template(), template(mode=0)))
    both.ask(NEWPOLICY, policy(selector(prefixes=(8, 8)), direction=0, priority=5) + if_id(5))
    one = attribute(MIGRATE_LIST, migration())
    back = attribute(
        MIGRATE_LIST,
        migration(("203.0.113.2", "203.0.113.1"), ("2001:db8::2", "2001:db8::1"), families=(2, 10)),
    )
    address = attribute(KMADDRESS, bytes(range(1, 41)))
    encapsulation = attribute(ENCAP, bytes(range(2, 30)))
    for payload in (
        policy_id(),
        policy_id()[:-1],
        policy_id() + attribute(POLICY_TYPE, b"\2" + bytes(5)) + one,
        policy_id() + attribute(MIGRATE_LIST, migration() * 7),
        policy_id() + attribute(MIGRATE_LIST, migration() * 2),
        policy_id() + attribute(MIGRATE_LIST, migration()[:-1]),
        policy_id() + attribute(MIGRATE_LIST, migration(new=("0.0.0.0", "192.0.2.1"))),
        policy_id() + attribute(MIGRATE_LIST, migration(new=("192.0.2.1", "::"), families=(2, 10))),
        policy_id(direction=3) + one,
        policy_id(direction=0) + one,
        policy_id(direction=0) + one + if_id(5),
        policy_id(selector(family=9)) + one,
        policy_id(selector(family=9), direction=7) + one,
        policy_id() + attribute(MIGRATE_LIST, migration(reqid=2)),
        policy_id() + attribute(MIGRATE_LIST, migration(mode=2)),
        policy_id() + attribute(MIGRATE_LIST, migration(mode=0, reqid=0)),
        policy_id() + one + if_id(5),
        policy_id() + one + address + encapsulation,
        policy_id() + one,
        policy_id(index=77) + back,
        policy_id()
        + attribute(
            MIGRATE_LIST,
            migration(("2001:db8::2", "2001:db8::1"), reqid=0, families=(10, 2)) + migration(),
        ),
    ):
        both.ask(MIGRATE, payload, port=4)
        both.dump()


def test_policies_expire_by_time(both: Both) -> None:
    """Soft limits are told of, hard ones remove; one beyond all time counts as passed."""
    limits = NO_LIMITS[:4]
    for prefix, times in enumerate(((1, 2, 0, 0), (0, 0, 0, INFINITE), (0, 0, 1, 9))):
        both.ask(NEWPOLICY, policy(selector(prefixes=(prefix, 0)), limits=limits + times))
    # The planes' timers are not in step: the order within a second says nothing.
    told = [
        sorted(
            (reply.payload[43], reply.payload[168], reply.kind)
            for reply, _port in plane.await_events(4)
        )
        for plane in (both.kernel, both.engine)
    ]
    assert told[0] == told[1]
    assert [(prefix, hard) for prefix, hard, _kind in told[0]] == [(0, 0), (0, 1), (1, 1), (2, 0)]
    assert len(both.dump()) == 1


def random_selector(source: random.Random, *, ipv6: bool) -> bytes:
    """Few addresses and ports, so that selectors overlap."""
    form = "2001:db8:{}::{}" if ipv6 else "10.{}.0.{}"
    hosts = [form.format(source.randrange(2), source.randrange(4)) for _host in range(2)]
    lengths = (0, 32, 48, 64, 126, 128) if ipv6 else (0, 8, 16, 24, 30, 32)
    masks = (0, 0, 0xFFFF, 0xFF00, 0x0001)
    return selector(
        *hosts,
        prefixes=(source.choice(lengths), source.choice(lengths)),
        protocol=source.choice((0, 0, 6, 17, 1, 58, 47, 132, 135, 255)),
        ports=(
            source.choice((0, 1, 0x0801)),
            source.choice(masks),
            source.choice((0, 1, 0x0300)),
            source.choice(masks),
        ),
        ifindex=source.choice((0, 0, 0, 3)),
    )


OLD, NEW = ("198.51.100.2", "192.0.2.1"), ("203.0.113.2", "203.0.113.1")


def ask_which_matches(both: Both, flow: bytes, identity: bytes) -> bool:
    """MIGRATE looks its policy up as a packet does: which one it was, the moved template shows."""
    there = attribute(MIGRATE_LIST, migration(OLD, NEW))
    back = attribute(MIGRATE_LIST, migration(NEW, OLD))
    if both.ask(MIGRATE, policy_id(flow) + identity + there)[-1].errno != 0:
        return False
    both.dump()
    both.ask(MIGRATE, policy_id(flow) + identity + back)
    return True


@pytest.mark.parametrize("number", range(4))
def test_the_same_policy_matches(both: Both, number: int) -> None:
    """Of many that overlap, through additions, deletions and changes of priority."""
    source = random.Random(number)
    ipv6 = number % 2 == 1
    found = 0
    for changes in range(60):
        for _addition in range(3 if changes < 40 else 1):
            identity = mark(source.randrange(2), source.choice((0, 0, 1, 3)))
            told = policy(random_selector(source, ipv6=ipv6), priority=source.randrange(3))
            attributes = templates(template()) + identity + if_id(source.randrange(2))
            both.ask(NEWPOLICY, told + attributes)
        dump = both.dump()
        old = source.choice(dump).payload
        priority = struct.unpack_from("=I", old, 152)[0] ^ 1
        both.ask(UPDPOLICY, policy(old[:56], priority=priority) + old[168:])
        if changes > 30:
            gone = source.choice(dump).payload
            both.ask(DELPOLICY, policy_id(gone[:56]) + gone[168:])
        for _flow in range(5):
            flow = random_selector(source, ipv6=ipv6)
            found += ask_which_matches(both, flow, if_id(source.randrange(2)))
    assert found > 50


def test_who_comes_first_among_equals(both: Both) -> None:
    """A policy replaced at equal priority stays before those of its addresses, and goes behind all
    others."""
    flow = selector("10.1.0.1", "10.2.0.1", prefixes=(32, 32), protocol=17)
    for chosen in (selector(protocol=17), selector(), selector(prefixes=(8, 8))):
        both.ask(NEWPOLICY, policy(chosen) + templates(template()))
        assert ask_which_matches(both, flow, b"")
    for chosen in (selector(protocol=17), selector(), selector(prefixes=(8, 8))):
        both.ask(UPDPOLICY, policy(chosen) + templates(template()))
        assert ask_which_matches(both, flow, b"")
    both.ask(UPDPOLICY, policy(selector(protocol=17), priority=101) + templates(template()))
    both.ask(UPDPOLICY, policy(selector(protocol=17)) + templates(template()))
    assert ask_which_matches(both, flow, b"")


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
