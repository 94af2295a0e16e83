"""Sequence numbers: replayed, too old, none, and at their end; in every mode."""

import pytest

from plutino.model.policy import Direction
from plutino.model.sa import SaDirection
from plutino.netlink.xfrm.structures import ReplayState
from tests.support.attack import Attack, await_drops, octets_of, packet_of, sealed
from tests.support.engine_lab import ONE, WINDOW, changed

pytestmark = pytest.mark.root

LAST = 0xFFFFFFFF


def test_a_replayed_packet(attack: Attack) -> None:
    packet = attack.seal(attack.inner())
    attack.send(packet)
    assert attack.lab.two.await_delivery() == attack.inner()
    with attack.counted(XfrmInStateSeqError=3):
        for _ in range(3):
            attack.send(packet)


def test_a_packet_older_than_the_window(attack: Attack) -> None:
    old = attack.seal(attack.inner(b"too old"))
    oldest = attack.seal(attack.inner(b"just in time"))
    attack.sequence += WINDOW - 2
    attack.assert_good_passes()
    assert attack.sequence == 1 + WINDOW
    attack.assert_passes(oldest, attack.inner(b"just in time"))
    with attack.counted(XfrmInStateSeqError=1):
        attack.send(old)


def test_number_zero(attack: Attack) -> None:
    text, next_header = attack.carried()
    with attack.counted(XfrmInStateSeqError=1):
        attack.send(attack.esp(sealed(attack.flow, 0, text + bytes([0, next_header]))))


def test_after_the_last_number_none_begins_anew(attack: Attack) -> None:
    attack.sequence = LAST - 2
    attack.assert_good_passes()
    low = [attack.judge.seal(attack.inner(b"anew"), number) for number in (1, 2, WINDOW)]
    last = attack.judge.seal(attack.inner(b"the last"), LAST)
    attack.assert_passes(last, attack.inner(b"the last"))
    attack.sequence = LAST - 9  # those that are left are in the window
    with attack.counted(XfrmInStateSeqError=len(low) + 1):
        for packet in (*low, last):
            attack.send(packet)


def test_the_numbers_of_the_sender_end(attack: Attack) -> None:
    one, flow = attack.lab.one, attack.lab.new_flow(attack.case, ONE)
    one.flush()
    last = ReplayState(oseq=LAST - 1)
    one.send(changed(flow.sa(SaDirection.OUT), REPLAY_VAL=last))
    for message in flow.policies(Direction.OUT):
        one.send(message)
    before = dict(one.drops())
    one.inject(attack.inner(b"the last number"))
    assert octets_of(packet_of(attack.lab.frame_of(flow.spi)[14:]))[4:8] == b"\xff" * 4
    for version in attack.case.inner:
        one.inject(attack.inner(b"none is left", version))
    await_drops(one, before, XfrmOutStateSeqError=len(attack.case.inner))
    # A frame after them is on the wire, and of this SA there is still only the one before.
    attack.send(attack.seal(attack.inner(b"another SA")))
    attack.lab.frame_of(attack.flow.spi)
    attack.lab.frame_of(flow.spi)
