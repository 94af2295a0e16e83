"""What a data plane tells that concerns IKE."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from plutino.dataplane.acquires import acquired_reqid, expiring_spi
from plutino.dataplane.mappings import new_mapping
from plutino.netlink.wire import Message

if TYPE_CHECKING:
    from plutino.daemon.ike_service import IkeService


def hear_for_ike(ike: IkeService | None, messages: Iterable[Message]) -> bool:
    """Passes on what is for IKE; whether all of it is for IKE alone, and no change."""
    is_change = False
    for message in messages:
        is_change |= not _hear(ike, message)
    return not is_change


def _hear(ike: IkeService | None, message: Message) -> bool:
    reqid, expiring = acquired_reqid(message), expiring_spi(message)
    mapping = new_mapping(message)
    if ike is not None:
        if reqid is not None:
            ike.acquire(reqid)
        elif expiring is not None:
            ike.rekey(expiring)
        elif mapping is not None:
            ike.follow_mapping(mapping)
    return any(one is not None for one in (reqid, expiring, mapping))
