"""XFRM_MSG_ACQUIRE of either plane: a packet wants an SA that is not there."""

from plutino.dataplane.engine_messages import EngineMessage
from plutino.model.errors import WireError
from plutino.netlink.wire import Message
from plutino.netlink.xfrm.constants import MessageType, Xfrma
from plutino.netlink.xfrm.messages import XfrmMessage


def acquired_reqid(message: Message) -> int | None:
    """The reqid of the template that found no SA; None for any other message."""
    if message.type != MessageType.ACQUIRE:
        return None
    try:
        templates = XfrmMessage.parse(message).find(Xfrma.TMPL, tuple)
    except WireError:
        return None
    return int(templates[0].reqid) if templates else None


def is_ike(message: Message) -> bool:
    """Whether the engine passes on what came to its port 4500."""
    return message.type == EngineMessage.IKE
