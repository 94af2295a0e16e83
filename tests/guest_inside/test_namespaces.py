"""Interfaces in another namespace than their SAs, on both planes: who holds the keys, who counts,
and what a namespace that goes takes with it. Scenarios under ``moved/`` compare the packets."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping

import pytest

from plutino.dataplane.tun import open_tun
from plutino.lab.namespaces import NetworkNamespace
from plutino.model.numbers import IfId
from tests.guest_inside.conformance.observation import Observation, differences
from tests.guest_inside.conformance.packets import incoming, outgoing
from tests.guest_inside.conformance.scenario import (
    GETSA,
    Ask,
    Inject,
    Send,
    dump_policies,
    dump_sas,
    in_policy,
    in_sa,
    out_policy,
    out_sa,
    receives,
)
from tests.guest_inside.conformance.side import EngineSide, KernelSide, Side, both_sides
from tests.support.raw_plane import DUMP, REQUEST, RawPlane
from tests.support.until import until

pytestmark = pytest.mark.guest

OUTWARD = (out_policy(), out_sa())
INWARD = (in_policy(), in_sa(spi=0x2000))
OUT = Send(outgoing())
IN = receives(incoming(), spi=0x2000)


Sides = tuple[KernelSide, EngineSide]


@pytest.fixture
def sides() -> Iterator[Sides]:
    with both_sides(moved=True) as both:
        yield both


def ask(plane: RawPlane, *requests: Ask) -> None:
    """All are taken."""
    for one in requests:
        assert plane.ask(one.kind, one.payload)[-1].errno == 0


def passes(side: Side, step: Send | Inject) -> None:
    """Carry it out and wait for the packet that comes of it."""
    seen = Observation()
    side.perform(step, seen)
    until(lambda: is_seen(side, seen, "wire", "delivered"), f"{side.name}: a packet")


def is_seen(side: Side, seen: Observation, *fields: str) -> bool:
    """Whether any of those has come by now."""
    side.collect(seen)
    return any(getattr(seen, field) for field in fields)


def dumps(side: Side) -> Mapping[str, str]:
    """SAs and policies, by field; without octets and packets of policies, which are the engine's
    alone."""
    fields: dict[str, str] = {}
    for one in (dump_sas(), dump_policies()):
        seen = Observation()
        side.perform(one, seen)
        told = seen.fields()
        assert sum(name.endswith(".fixed") for name in told) == 2
        fields |= {f"{one.kind}.{name}": words for name, words in told.items()}
    return {name: words for name, words in fields.items() if not name.endswith("policy_used")}


def ip(place: NetworkNamespace, command: str) -> subprocess.CompletedProcess[str]:
    """Of iproute2, in a namespace."""
    with place.entered():
        return subprocess.run(["ip", *command.split()], capture_output=True, text=True, check=False)


def test_keys_stay_where_the_interface_was_made(sides: Sides) -> None:
    kernel, _ = sides
    ask(kernel.plane, *OUTWARD)
    passes(kernel, OUT)
    for what in ("state", "policy"):
        done = ip(kernel.inside, f"xfrm {what}")
        assert (done.returncode, done.stdout) == (0, "")


def test_sas_of_the_other_namespace_do_not_serve_the_interface(sides: Sides) -> None:
    kernel, _ = sides
    with kernel.inside.entered():
        plane = RawPlane.kernel()
    with plane:
        ask(plane, *OUTWARD)
        seen = Observation()
        kernel.perform(OUT, seen)
        until(lambda: is_seen(kernel, seen, "icmp"), "the sender is told")
        assert seen.wire == []
        sa = plane.ask(GETSA, flags=REQUEST | DUMP)[0]
        assert sa.payload[160:176] == bytes(16)  # octets and packets


def test_the_interface_counts_alike_where_it_is(sides: Sides) -> None:
    counted = []
    for side in sides:
        ask(side.plane, *OUTWARD, *INWARD)
        for text in (b"one", bytes(500)):
            passes(side, Send(outgoing(text=text)))
        passes(side, IN)
        shown = json.loads(ip(side.inside, "-s -j link show ipsec1").stdout)[0]["stats64"]
        counted.append({way: (one["packets"], one["bytes"]) for way, one in shown.items()})
    assert counted == [{"rx": (1, 30), "tx": (2, 31 + 528)}] * 2


def test_a_namespace_that_goes_takes_the_interface_and_leaves_the_rest(sides: Sides) -> None:
    kernel, engine = sides
    for side in sides:
        ask(side.plane, *OUTWARD, *INWARD)
        passes(side, IN)
    until(lambda: differences(dumps(kernel), dumps(engine)) == {}, "both tell of that packet")
    before = [dumps(side) for side in sides]
    for side in sides:
        side.leave_inside()
    again = "link add again type xfrm if_id 1"
    until(lambda: ip(kernel.gateway, again).returncode == 0, "its if_id is free")
    until(lambda: not is_attached(engine, "ipsec1"), "it is seen to be gone")
    with engine.gateway.entered():
        descriptor = open_tun("again")
        engine.client.new_device("again", IfId(1), 99, 1400, [descriptor])
    os.close(descriptor)
    assert is_attached(engine, "again")
    assert [dumps(side) for side in sides] == before


def is_attached(engine: EngineSide, name: str) -> bool:
    """Whether a device is served."""
    return any(one.name == name and one.attached for one in engine.client.list_devices())


def test_the_namespace_of_the_keys_takes_the_interface_with_it() -> None:
    with NetworkNamespace.create() as inside:
        with NetworkNamespace.create() as home:
            target = f"/proc/{os.getpid()}/fd/{inside.fileno()}"
            for command in ("link add ipsec1 type xfrm if_id 1", f"link set ipsec1 netns {target}"):
                assert ip(home, command).returncode == 0
            assert ip(inside, "link show ipsec1").returncode == 0
        until(lambda: ip(inside, "link show ipsec1").returncode != 0, "the interface goes")
