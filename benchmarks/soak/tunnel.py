"""The SAs and policies of one if_id of the soak, which are rekeyed make-before-break."""

import itertools
import time
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import Final

from benchmarks.soak.ends import End
from plutino.model.numbers import IfId
from plutino.model.policy import Direction
from plutino.model.sa import SaDirection
from plutino.netlink.xfrm.attributes import ReplayEsn
from plutino.netlink.xfrm.constants import MessageType, Xfrma
from plutino.netlink.xfrm.convert import encode_address, family_of
from plutino.netlink.xfrm.messages import XfrmMessage
from plutino.netlink.xfrm.structures import ReplayEsnHeader, UserSaId
from plutino.netlink.xfrm.structures_policy import UserPolicyId, UserPolicyInfo
from tests.support.engine_lab import OUTER, EngineCase, Flow, changed
from tests.support.esp_algorithms import BY_NAME

ALGORITHMS: Final = (
    "gcm128-16", "chacha20-poly1305", "cbc128-sha256", "gcm256-16", "ctr128-sha256", "ccm128-16",
)  # fmt: skip
"""Of the rekeys, in turn."""
WINDOW: Final = 4096
_ESP: Final = 50


class Tunnel:
    """The SAs and policies of one if_id on both ends, rekeyed make-before-break."""

    def __init__(self, ends: Mapping[str, End], if_id: IfId, spis: Iterator[int]) -> None:
        self._ends = ends
        self._if_id = if_id
        self._spis = spis
        self._algorithms = itertools.cycle(ALGORITHMS)
        self._current: dict[str, Flow] = {}
        self._leaving: list[tuple[float, Flow]] = []
        self._policies: list[tuple[End, XfrmMessage]] = []

    def install(self) -> None:
        """Both directions on both ends."""
        for sender in self._ends:
            flow = self._new_flow(sender)
            for end in self._ends.values():
                direction = Direction.OUT if end.name == sender else Direction.IN
                for message in flow.policies(direction):
                    self._policies.append((end, message))
                    end.send(changed(message, IF_ID=int(self._if_id)))

    def rekey(self, grace: float) -> None:
        """New inbound, new outbound, the old outbound goes; the old inbound after ``grace``."""
        for sender in self._ends:
            old = self._current[sender]
            self._new_flow(sender)
            self._delete(self._ends[sender], old)
            self._leaving.append((time.monotonic() + grace, old))

    def tidy(self) -> None:
        """Delete the old inbound SAs whose time has come."""
        while self._leaving and self._leaving[0][0] <= time.monotonic():
            _, flow = self._leaving.pop(0)
            self._delete(self._ends[flow.receiver], flow)

    @property
    def leaving(self) -> int:
        """Old inbound SAs."""
        return len(self._leaving)

    def remove(self) -> None:
        """Everything that was made."""
        for end, message in self._policies:
            fixed = message.fixed
            assert isinstance(fixed, UserPolicyInfo)
            name = UserPolicyId(sel=fixed.sel, dir=fixed.dir)
            attributes = [(Xfrma.IF_ID, int(self._if_id))]
            end.send(XfrmMessage.build(MessageType.DELPOLICY, name, attributes))
        for flow in self._current.values():
            for end in self._ends.values():
                self._delete(end, flow)

    def _new_flow(self, sender: str) -> Flow:
        case = EngineCase(BY_NAME[next(self._algorithms)], inner=(4,), esn=True)
        flow = Flow(case, sender, next(self._spis), case.algorithm.new_keys())
        for name, direction in ((flow.receiver, SaDirection.IN), (sender, SaDirection.OUT)):
            message = changed(flow.sa(direction), IF_ID=int(self._if_id))
            if direction is SaDirection.IN:
                header = ReplayEsnHeader(bmp_len=WINDOW // 32, replay_window=WINDOW)
                message = changed(message, REPLAY_ESN_VAL=ReplayEsn(header, ()))
            self._ends[name].send(message)
        self._current[sender] = flow
        return flow

    @staticmethod
    def _delete(end: End, flow: Flow) -> None:
        destination = ip_address(OUTER[flow.case.outer][flow.receiver])
        name = UserSaId(encode_address(destination), flow.spi, family_of(destination), _ESP)
        end.send(XfrmMessage.build(MessageType.DELSA, name))
