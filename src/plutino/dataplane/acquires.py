"""What either plane wants of IKE: an SA that is not there, or another one before its end."""

from plutino.model.errors import WireError
from plutino.netlink.wire import Message
from plutino.netlink.xfrm.constants import MessageType, Xfrma
from plutino.netlink.xfrm.messages import XfrmMessage
from plutino.netlink.xfrm.structures import UserExpire


def acquired_reqid(message: Message) -> int | None:
    """The reqid of the template that found no SA; None for any other message."""
    if message.type != MessageType.ACQUIRE:
        return None
    try:
        templates = XfrmMessage.parse(message).find(Xfrma.TMPL, tuple)
    except WireError:
        return None
    return int(templates[0].reqid) if templates else None


def expiring_spi(message: Message) -> int | None:
    """The SPI of an SA that has reached a soft limit; None for any other message."""
    if message.type != MessageType.EXPIRE:
        return None
    try:
        told = XfrmMessage.parse(message).fixed
    except WireError:
        return None
    return told.state.id.spi if isinstance(told, UserExpire) and not told.hard else None
