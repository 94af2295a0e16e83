"""Of many policies that overlap, kernel and engine find the same one."""

import random
import struct

import pytest

from tests.support.both_planes import MIGRATE_LIST, Both, if_id, mark, templates
from tests.support.policy_wire import (
    migration,
    policy,
    policy_id,
    selector,
    template,
)
from tests.support.raw_plane import (
    DELPOLICY,
    MIGRATE,
    NEWPOLICY,
    UPDPOLICY,
    attribute,
)

pytestmark = pytest.mark.root


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
