"""A message as its header and its payloads, whether they came in clear or in SK."""

from collections.abc import Iterator, Sequence
from dataclasses import field, replace
from typing import Self, TypeVar

from plutino.ike.message.chain import encode_chain, parse_chain
from plutino.ike.message.header import Header
from plutino.ike.numbers import PayloadType
from plutino.ike.payloads.generic import Payload
from plutino.ike.payloads.notify import NotifyPayload
from plutino.model.wire_value import wire_value

_Kind = TypeVar("_Kind")


@wire_value
class Message:
    """One request or response. ``payloads`` are in the order of the wire.

    ``octets`` is the whole message where it was in clear, and what stood inside SK where not, byte
    for byte: AUTH covers them (RFC 7296, 2.15; RFC 9242, 3.3.2).
    """

    header: Header
    payloads: tuple[Payload, ...]
    octets: bytes = field(default=b"", repr=False)

    @classmethod
    def parse_clear(cls, header: Header, datagram: memoryview) -> Self:
        """A message that has no SK payload; WireError if malformed."""
        chain = parse_chain(header.next_payload, datagram[Header.FIXED.size :])
        return cls(header, chain, bytes(datagram))

    def encode_clear(self) -> bytes:
        """The datagram without protection, as in IKE_SA_INIT."""
        first, chain = encode_chain(self.payloads)
        length = Header.FIXED.size + len(chain)
        return replace(self.header, next_payload=first, length=length).encode() + chain

    def first(self, kind: type[_Kind]) -> _Kind | None:
        """The first payload of a class."""
        for one in self.payloads:
            if isinstance(one, kind):
                return one
        return None

    def all(self, kind: type[_Kind]) -> Iterator[_Kind]:
        """The payloads of a class in their order."""
        return (one for one in self.payloads if isinstance(one, kind))

    def of_type(self, number: PayloadType) -> Payload | None:
        """The first payload of a number: TSi and TSr, IDi and IDr share their classes."""
        return next((one for one in self.payloads if one.payload_type == number), None)

    def notify(self, type_: int) -> NotifyPayload | None:
        """The first notify of a type."""
        for one in self.payloads:
            if isinstance(one, NotifyPayload) and one.type == type_:
                return one
        return None

    @property
    def notifies(self) -> tuple[NotifyPayload, ...]:
        """All notify payloads."""
        return tuple(self.all(NotifyPayload))

    @property
    def error(self) -> NotifyPayload | None:
        """The first notify that is an error."""
        return next((one for one in self.notifies if one.is_error), None)


_SHORT_NAMES = {
    PayloadType.SA: "SA",
    PayloadType.KE: "KE",
    PayloadType.ID_I: "IDi",
    PayloadType.ID_R: "IDr",
    PayloadType.CERT: "CERT",
    PayloadType.CERTREQ: "CERTREQ",
    PayloadType.AUTH: "AUTH",
    PayloadType.NONCE: "No",
    PayloadType.DELETE: "D",
    PayloadType.VENDOR_ID: "V",
    PayloadType.TS_I: "TSi",
    PayloadType.TS_R: "TSr",
    PayloadType.CP: "CP",
    PayloadType.EAP: "EAP",
}


def describe(header: Header, payloads: Sequence[Payload]) -> str:
    """The words of a ladder: ``CREATE_CHILD_SA {N(REKEY_SA),SA,No,KE,TSi,TSr}``."""
    return f"{header.exchange_name} {{{','.join(map(_short_name, payloads))}}}"


def _short_name(payload: Payload) -> str:
    if isinstance(payload, NotifyPayload):
        return f"N({payload.name})"
    try:
        return _SHORT_NAMES[PayloadType(payload.payload_type)]
    except (KeyError, ValueError):
        return str(payload.payload_type)
