"""The same requests about policies to this machine's kernel and to the engine: the same answers.

Left out is what this kernel and the engine were built to do differently: sub policies (the engine
has none, like a kernel without CONFIG_XFRM_SUB_POLICY), policies on devices (this kernel may lack
CONFIG_XFRM_OFFLOAD and then ignores the attribute).
"""

import struct

import pytest

from tests.support.both_planes import (
    ENCAP,
    HTHRESH4,
    HTHRESH6,
    IF_ID,
    KMADDRESS,
    MARK,
    MIGRATE_LIST,
    POLICY_TYPE,
    SA_DIR,
    SA_PCPU,
    SEC_CTX,
    TMPL,
    Both,
    if_id,
    mark,
    templates,
)
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
    attribute,
)

pytestmark = pytest.mark.root

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
