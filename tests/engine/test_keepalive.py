"""NAT keepalives (RFC 3948, 2.3), and a peer that a NAT has moved."""

from collections.abc import Iterator

import pytest
from scapy.layers.inet import UDP
from scapy.layers.l2 import Ether

from plutino.dataplane.engine_client import EngineClient
from plutino.model.policy import Mode
from plutino.model.sa import Encapsulation, SaDirection
from plutino.netlink.xfrm.constants import Group
from plutino.netlink.xfrm.messages import XfrmMessage
from plutino.netlink.xfrm.structures import UserMapping
from tests.support.engine_lab import ONE, TWO, EngineCase, EngineLab, changed, engine_lab
from tests.support.esp_algorithms import ALGORITHMS
from tests.support.esp_judge import Judge, echo_reply, framed
from tests.support.until import until

pytestmark = pytest.mark.root

CASE = EngineCase(ALGORITHMS[0], Mode.TUNNEL, 4, Encapsulation.UDP, (4,), esn=False)


@pytest.fixture
def lab() -> Iterator[EngineLab]:
    with engine_lab() as one:
        yield one


def test_a_silent_sa_keeps_its_nat_awake(lab: EngineLab) -> None:
    flow = lab.new_flow(CASE, ONE)
    message = changed(flow.sa(SaDirection.OUT), NAT_KEEPALIVE_INTERVAL=1, SA_DIR=2)
    lab.one.send(message)

    def seen() -> bool:
        datagrams = (Ether(frame) for frame, _ in list(lab.frames))
        return any(
            one.haslayer(UDP) and bytes(one[UDP].payload)[:1] == b"\xff" and one[UDP].len == 9
            for one in datagrams
        )

    until(seen, "a keepalive")


def test_listeners_are_told_of_a_peer_that_has_moved(lab: EngineLab) -> None:
    there, _ = lab.install(CASE)
    listener = EngineClient(lab.two.host.folder / "engine.sock")
    listener.join(Group.MAPPING.bit)
    judge = Judge(there)
    packet = judge.seal(echo_reply(CASE, 4, ONE, TWO, b"from another port"), sequence=5)
    packet[UDP].sport = 61234
    lab.one.transmit(framed(packet, lab.one, lab.two))
    (told,) = map(XfrmMessage.parse, listener.socket.receive(5.0))
    listener.close()
    mapping = told.fixed
    assert isinstance(mapping, UserMapping)
    assert (mapping.id.spi, mapping.old_sport, mapping.new_sport) == (there.spi, 4500, 61234)
    # The SA stays as it is until somebody changes it.
    assert lab.two.await_delivery()
