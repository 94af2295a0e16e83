"""What policies refuse, coming in and going out."""

from contextlib import suppress
from dataclasses import replace

import pytest
from scapy.layers.inet import ICMP
from scapy.layers.inet6 import ICMPv6DestUnreach

from plutino.model.policy import Action, Direction, Mode
from plutino.netlink.route_client import RouteClient
from plutino.netlink.xfrm.constants import MessageType
from plutino.netlink.xfrm.messages import XfrmMessage
from tests.support.attack import Attack, await_drops, packet_of
from tests.support.engine_lab import DEVICE, ONE, REQID, TWO, EngineCase, policy
from tests.support.until import until

pytestmark = pytest.mark.root


def test_no_policy(attack: Attack) -> None:
    """Where none asks for anything, transport mode gives more (`secpath_has_nontransport`)."""
    attack.set_policies()
    if attack.case.mode is Mode.TRANSPORT:
        attack.assert_good_passes()
        return
    versions = attack.case.inner
    with attack.counted(XfrmInNoPols=len(versions)):
        refused(attack, "XfrmInNoPols", *versions)


def test_a_policy_that_blocks(attack: Attack) -> None:
    versions = attack.case.inner
    attack.set_policies(
        *(policy(Direction.IN, version, action=Action.BLOCK) for version in versions)
    )
    with attack.counted(XfrmInPolBlock=len(versions)):
        refused(attack, "XfrmInPolBlock", *versions)


def test_a_template_that_asks_for_another_sa(attack: Attack) -> None:
    version = attack.case.inner[0]
    good = attack.flow.template()
    others = [
        replace(good, reqid=REQID + 1),
        replace(good, id=replace(good.id, spi=attack.flow.spi + 1)),
    ]
    other_mode = Mode.BEET if attack.case.mode is Mode.TUNNEL else Mode.TUNNEL
    others.append(replace(good, mode=other_mode))
    if attack.case.mode is not Mode.TRANSPORT:  # whose addresses are the packet's
        others.append(replace(good, saddr=good.id.daddr))
    with attack.counted(XfrmInTmplMismatch=len(others)):
        for template in others:
            attack.set_policies(policy(Direction.IN, version, template=template))
            refused(attack, "XfrmInTmplMismatch", version, reset=False)
        attack.reset_policies()


def test_a_policy_without_template_takes_no_tunnel(attack: Attack) -> None:
    version = attack.case.inner[0]
    attack.set_policies(policy(Direction.IN, version))
    if attack.case.mode is Mode.TRANSPORT:
        attack.assert_good_passes()
        return
    with attack.counted(XfrmInTmplMismatch=1):
        refused(attack, "XfrmInTmplMismatch", version)


def refused(attack: Attack, name: str, *versions: int, reset: bool = True) -> None:
    """Sent under the policies in force, and counted before they are what they were again."""
    before = attack.lab.two.drops().get(name, 0)
    for version in versions:
        attack.send(attack.seal(attack.inner(version=version)))
    count = before + len(versions)
    until(lambda: attack.lab.two.drops().get(name, 0) == count, name)
    if reset:
        attack.reset_policies()


def test_the_interface_is_down(attack: Attack) -> None:
    two = attack.lab.two
    before = two.drops().get("XfrmInNoPols", 0)
    with attack.counted(XfrmInNoPols=1):
        with two.host.namespace.entered(), RouteClient() as routes:
            routes.set_link(DEVICE, up=False)
        attack.send(attack.seal(attack.inner()))
        until(lambda: two.drops().get("XfrmInNoPols", 0) > before, "XfrmInNoPols")
        with two.host.namespace.entered(), RouteClient() as routes:
            routes.set_link(DEVICE, up=True)
        with suppress(OSError):  # the packet socket tells once that its device was down
            two.delivered()


@pytest.mark.parametrize("blocked", [False, True], ids=("no_policy", "blocked"))
def test_what_may_not_leave_is_answered(attack: Attack, blocked: bool) -> None:
    one = attack.lab.one
    for version in attack.case.inner:
        one.send(XfrmMessage.build(MessageType.FLUSHPOLICY, None))
        if blocked:
            one.send(policy(Direction.OUT, version, action=Action.BLOCK))
        before = dict(one.drops())
        packet = attack.inner(b"nobody may see this", version)
        one.inject(packet)
        assert_unreachable(one.await_delivery(), packet, attack.case)
        await_drops(one, before, **({"XfrmOutPolBlock": 1} if blocked else {}))
    attack.assert_good_passes()
    assert not [frame for frame, _ in list(attack.lab.frames) if b"nobody" in frame]


def assert_unreachable(answer: bytes, packet: bytes, case: EngineCase) -> None:
    """An ICMP error from the address that could not be reached, with the packet in it."""
    version = packet[0] >> 4
    read = packet_of(answer)
    assert (read.src, read.dst) == (case.address(version, TWO), case.address(version, ONE))
    error = read[ICMP] if version == 4 else read[ICMPv6DestUnreach]
    assert (error.type, error.code) == ((3, 1) if version == 4 else (1, 3))
    assert answer.endswith(packet)
