"""What a data plane tells that concerns IKE."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from plutino.dataplane.acquires import acquired_reqid, expiring_spi, is_ike
from plutino.dataplane.engine_messages import parse_ike
from plutino.dataplane.mappings import new_mapping
from plutino.model.errors import WireError
from plutino.netlink.wire import Message

if TYPE_CHECKING:
    from plutino.daemon.ike_service import IkeService


def hear_for_ike(ike: IkeService | None, messages: Iterable[Message]) -> bool:
    """Passes on what is for IKE; whether all of it is for IKE alone, and no change."""
    datagrams = []
    is_change = False
    for message in messages:
        if is_ike(message):
            with suppress(WireError):
                datagrams.append(parse_ike(message.payload))
        else:
            is_change |= not _hear(ike, message)
    if ike is not None and datagrams:
        ike.hear_engine(datagrams)
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
