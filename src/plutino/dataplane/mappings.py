"""XFRM_MSG_MAPPING of either plane: authentic ESP in UDP comes from elsewhere (RFC 7296, 2.23)."""

from typing import NamedTuple

from plutino.model.errors import WireError
from plutino.model.policy import IpAddress
from plutino.netlink.wire import Message
from plutino.netlink.xfrm.constants import MessageType
from plutino.netlink.xfrm.convert import parse_address
from plutino.netlink.xfrm.messages import XfrmMessage
from plutino.netlink.xfrm.structures import UserMapping


class NewMapping(NamedTuple):
    """The peer's NAT has given it another address or port: ``spi`` is that of our inbound SA."""

    spi: int
    address: IpAddress
    port: int


def new_mapping(message: Message) -> NewMapping | None:
    """What a message tells of a mapping; None for any other message."""
    if message.type != MessageType.MAPPING:
        return None
    try:
        told = XfrmMessage.parse(message).fixed
    except WireError:
        return None
    assert isinstance(told, UserMapping)
    address = parse_address(told.new_saddr, told.id.family)
    return NewMapping(told.id.spi, address, told.new_sport)
