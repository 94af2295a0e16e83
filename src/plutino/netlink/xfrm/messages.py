"""XFRM messages: one table from message type to its fixed structure and its attributes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import starmap
from types import MappingProxyType
from typing import Any, Final, Self, TypeVar

from plutino.model.errors import WireError
from plutino.model.wire_value import wire_value
from plutino.netlink.wire import (
    ALIGNMENT,
    NLA_TYPE_MASK,
    NLM_F_DUMP,
    Attribute,
    Message,
    align,
    encode_attribute,
    parse_attributes,
)
from plutino.netlink.xfrm.attributes import (
    OCTETS,
    SAD_ATTRIBUTES,
    SPD_ATTRIBUTES,
    XFRM_ATTRIBUTES,
    Codec,
)
from plutino.netlink.xfrm.constants import MessageType
from plutino.netlink.xfrm.layout import Structure
from plutino.netlink.xfrm.structures import (
    AeventId,
    UserExpire,
    UserMapping,
    UserSaFlush,
    UserSaId,
    UserSaInfo,
    UserSpiInfo,
)
from plutino.netlink.xfrm.structures_policy import (
    InfoFlags,
    UserAcquire,
    UserMigrateState,
    UserPolicyDefault,
    UserPolicyExpire,
    UserPolicyId,
    UserPolicyInfo,
    UserReport,
)

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Form:
    """What a message of one type is made of; ``fixed`` None for attributes alone."""

    fixed: type[Structure] | None
    attributes: Mapping[int, Codec]


FORMS: Final[Mapping[int, Form]] = MappingProxyType(
    {
        MessageType.NEWSA: Form(UserSaInfo, XFRM_ATTRIBUTES),
        MessageType.DELSA: Form(UserSaId, XFRM_ATTRIBUTES),
        MessageType.GETSA: Form(UserSaId, XFRM_ATTRIBUTES),
        MessageType.NEWPOLICY: Form(UserPolicyInfo, XFRM_ATTRIBUTES),
        MessageType.DELPOLICY: Form(UserPolicyId, XFRM_ATTRIBUTES),
        MessageType.GETPOLICY: Form(UserPolicyId, XFRM_ATTRIBUTES),
        MessageType.ALLOCSPI: Form(UserSpiInfo, XFRM_ATTRIBUTES),
        MessageType.ACQUIRE: Form(UserAcquire, XFRM_ATTRIBUTES),
        MessageType.EXPIRE: Form(UserExpire, XFRM_ATTRIBUTES),
        MessageType.UPDPOLICY: Form(UserPolicyInfo, XFRM_ATTRIBUTES),
        MessageType.UPDSA: Form(UserSaInfo, XFRM_ATTRIBUTES),
        MessageType.POLEXPIRE: Form(UserPolicyExpire, XFRM_ATTRIBUTES),
        MessageType.FLUSHSA: Form(UserSaFlush, XFRM_ATTRIBUTES),
        MessageType.FLUSHPOLICY: Form(None, XFRM_ATTRIBUTES),
        MessageType.NEWAE: Form(AeventId, XFRM_ATTRIBUTES),
        MessageType.GETAE: Form(AeventId, XFRM_ATTRIBUTES),
        MessageType.REPORT: Form(UserReport, XFRM_ATTRIBUTES),
        MessageType.MIGRATE: Form(UserPolicyId, XFRM_ATTRIBUTES),
        MessageType.NEWSADINFO: Form(InfoFlags, SAD_ATTRIBUTES),
        MessageType.GETSADINFO: Form(InfoFlags, SAD_ATTRIBUTES),
        MessageType.NEWSPDINFO: Form(InfoFlags, SPD_ATTRIBUTES),
        MessageType.GETSPDINFO: Form(InfoFlags, SPD_ATTRIBUTES),
        MessageType.MAPPING: Form(UserMapping, XFRM_ATTRIBUTES),
        MessageType.SETDEFAULT: Form(UserPolicyDefault, XFRM_ATTRIBUTES),
        MessageType.GETDEFAULT: Form(UserPolicyDefault, XFRM_ATTRIBUTES),
        MessageType.MIGRATE_STATE: Form(UserMigrateState, XFRM_ATTRIBUTES),
    }
)

_DUMP_FORM: Final = Form(None, XFRM_ATTRIBUTES)
"""Requests for a dump of SAs or policies: attributes follow the header at once."""
_DUMPABLE: Final = frozenset({MessageType.GETSA, MessageType.GETPOLICY})


@wire_value
class XfrmAttribute:
    """An attribute with its value; ``type`` is as on the wire, flags included."""

    type: int
    value: Any

    @property
    def number(self) -> int:
        """The type without its flags."""
        return self.type & NLA_TYPE_MASK


@wire_value
class XfrmMessage:
    """One XFRM message: its type, fixed structure, attributes in their order.

    ``is_dump`` tells a request for a dump, which has no fixed structure.
    """

    kind: MessageType
    fixed: Structure | None
    attributes: tuple[XfrmAttribute, ...] = ()
    is_dump: bool = False

    @classmethod
    def build(
        cls, kind: MessageType, fixed: Structure | None, attributes: Iterable[tuple[int, Any]] = ()
    ) -> Self:
        """From pairs of attribute number and value."""
        return cls(kind, fixed, tuple(starmap(XfrmAttribute, attributes)))

    @classmethod
    def parse(cls, message: Message) -> Self:
        """From a netlink message; WireError for a type that is not XFRM's or a wrong length."""
        if message.type not in FORMS:
            raise WireError("XFRM message", offset=4, why=f"type {message.type:#x} is unknown")
        kind = MessageType(message.type)
        is_dump = kind in _DUMPABLE and message.flags & NLM_F_DUMP == NLM_F_DUMP
        form = _DUMP_FORM if is_dump else FORMS[kind]
        what = f"XFRM_MSG_{kind.name}"
        size = 0 if form.fixed is None else form.fixed.size()
        if len(message.payload) < size:
            raise WireError(what, offset=len(message.payload), why="fixed structure truncated")
        fixed = None if form.fixed is None else form.fixed.parse(message.payload[:size])
        raw = parse_attributes(message.payload[align(size) :], what=what)
        return cls(kind, fixed, tuple(_parse_value(form, one) for one in raw), is_dump)

    def encode(self) -> bytes:
        """The payload that follows the netlink header; ValueError if a value does not fit."""
        form = _DUMP_FORM if self.is_dump else FORMS[self.kind]
        if (form.fixed is None) != (self.fixed is None) or (
            form.fixed is not None and not isinstance(self.fixed, form.fixed)
        ):
            raise ValueError(f"{self.kind.name} does not start with {type(self.fixed).__name__}")
        octets = b"" if self.fixed is None else self.fixed.encode()
        if not self.attributes:
            # Such a message ends with its structure, as the kernel and iproute2 send it.
            return octets
        parts = [octets, bytes(-len(octets) % ALIGNMENT)]
        for one in self.attributes:
            codec = form.attributes.get(one.number, OCTETS)
            parts.append(encode_attribute(one.type, codec.encode(one.value)))
        return b"".join(parts)

    def find(self, number: int, expected: type[_Value]) -> _Value | None:
        """The value of the last attribute of that number (as the kernel reads it), or None.

        WireError if the value is of another class than the caller expects.
        """
        for attribute in reversed(self.attributes):
            if attribute.number == number:
                value: object = attribute.value
                if isinstance(value, expected):
                    return value
                raise WireError(
                    f"XFRM_MSG_{self.kind.name}",
                    offset=0,
                    why=f"attribute {number} is no {expected.__name__}",
                )
        return None


def _parse_value(form: Form, attribute: Attribute) -> XfrmAttribute:
    codec = form.attributes.get(attribute.number, OCTETS)
    return XfrmAttribute(attribute.type, codec.parse(attribute.payload))
