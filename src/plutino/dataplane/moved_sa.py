"""An SA that changes its addresses, or what else XFRM_MSG_UPDSA does not change, and goes on.

It is deleted first: the notification of that tells its last numbers, so that none is sent or
accepted twice under its key.
"""

import time
from dataclasses import replace
from typing import Final

from plutino.model.errors import PlaneError
from plutino.model.sa import ReplayState, SaDirection, SecurityAssociation
from plutino.netlink.socket import NetlinkSocket
from plutino.netlink.xfrm.constants import MessageType, Xfrma
from plutino.netlink.xfrm.messages import XfrmMessage
from plutino.netlink.xfrm.replay import parse_replay
from plutino.netlink.xfrm.structures import UserSaId, UserSaInfo
from plutino.netlink.xfrm_client import XfrmClient

_PATIENCE: Final = 2.0
"""Seconds for the notification, which precedes the acknowledgement."""


def delete_and_tell(
    client: XfrmClient, events: NetlinkSocket, sa: SecurityAssociation
) -> ReplayState:
    """XFRM_MSG_DELSA; the numbers that the SA had at its end.

    ``events`` has joined XFRMNLGRP_SA. Raises KernelError if there is no such SA, PlaneError if the
    numbers were not told.
    """
    client.delete_sa(sa)
    deadline = time.monotonic() + _PATIENCE
    while (left := deadline - time.monotonic()) > 0:
        for message in events.receive(left):
            if message.type != MessageType.DELSA:
                continue
            told = XfrmMessage.parse(message)
            info = told.find(Xfrma.SA, UserSaInfo)
            if isinstance(told.fixed, UserSaId) and told.fixed.spi == sa.spi and info is not None:
                return parse_replay(told, info)
    raise PlaneError(f"SA {sa.spi} was deleted, but its last numbers were not told")


def with_numbers(sa: SecurityAssociation, last: ReplayState) -> SecurityAssociation:
    """The SA as it goes on; what a larger window holds beyond the last one counts as seen."""
    if sa.direction is SaDirection.OUT:
        return replace(sa, replay=ReplayState(oseq=last.oseq))
    window = sa.replay.window
    unknown = (1 << window) - 1 >> last.window << last.window if last.seq else 0
    bitmap = (last.bitmap | unknown) & (1 << window) - 1
    return replace(sa, replay=ReplayState(seq=last.seq, window=window, bitmap=bitmap))
