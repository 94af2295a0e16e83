"""Which payloads a message must and may have, in one table (RFC 7296, 1.2 to 1.4 and appendix C).

Checked once before any exchange sees the message. Notify and vendor id payloads may stand anywhere,
in any number; payloads that are unknown and not critical are skipped (RFC 7296, 2.5).
"""

from typing import Final, NamedTuple

from plutino.ike.errors import InvalidSyntaxError, UnsupportedCriticalPayloadError
from plutino.ike.message.header import Header
from plutino.ike.message.message import Message
from plutino.ike.message.protection import Opened, parse_plain
from plutino.ike.numbers import ExchangeType, PayloadType
from plutino.ike.payloads.generic import OpaquePayload
from plutino.model.errors import WireError

MANY: Final = 64


class Bounds(NamedTuple):
    """How often a payload may stand in a message."""

    least: int
    most: int


_ONE: Final = Bounds(1, 1)
_OPTIONAL: Final = Bounds(0, 1)
_ANY: Final = Bounds(0, MANY)
_FREE: Final = {PayloadType.NOTIFY: _ANY, PayloadType.VENDOR_ID: _ANY, PayloadType.CP: _OPTIONAL}

RULES: Final[dict[tuple[ExchangeType, bool], dict[PayloadType, Bounds]]] = {
    (ExchangeType.IKE_SA_INIT, False): {
        PayloadType.SA: _ONE,
        PayloadType.KE: _ONE,
        PayloadType.NONCE: _ONE,
        PayloadType.CERTREQ: _ANY,
    },
    (ExchangeType.IKE_SA_INIT, True): {
        PayloadType.SA: _ONE,
        PayloadType.KE: _ONE,
        PayloadType.NONCE: _ONE,
        PayloadType.CERTREQ: _ANY,
    },
    (ExchangeType.IKE_INTERMEDIATE, False): {PayloadType.KE: _OPTIONAL},
    (ExchangeType.IKE_INTERMEDIATE, True): {PayloadType.KE: _OPTIONAL},
    (ExchangeType.IKE_FOLLOWUP_KE, False): {PayloadType.KE: _ONE},
    (ExchangeType.IKE_FOLLOWUP_KE, True): {PayloadType.KE: _ONE},
    (ExchangeType.IKE_AUTH, False): {
        PayloadType.ID_I: _ONE,
        PayloadType.ID_R: _OPTIONAL,
        PayloadType.CERT: _ANY,
        PayloadType.CERTREQ: _ANY,
        PayloadType.AUTH: _OPTIONAL,  # absent where EAP is asked for
        PayloadType.EAP: _OPTIONAL,
        PayloadType.SA: _OPTIONAL,
        PayloadType.TS_I: _OPTIONAL,
        PayloadType.TS_R: _OPTIONAL,
    },
    (ExchangeType.IKE_AUTH, True): {
        PayloadType.ID_R: _ONE,
        PayloadType.CERT: _ANY,
        PayloadType.AUTH: _ONE,
        PayloadType.SA: _OPTIONAL,
        PayloadType.TS_I: _OPTIONAL,
        PayloadType.TS_R: _OPTIONAL,
    },
    (ExchangeType.CREATE_CHILD_SA, False): {
        PayloadType.SA: _ONE,
        PayloadType.NONCE: _ONE,
        PayloadType.KE: _OPTIONAL,
        PayloadType.TS_I: _OPTIONAL,
        PayloadType.TS_R: _OPTIONAL,
    },
    (ExchangeType.CREATE_CHILD_SA, True): {
        PayloadType.SA: _ONE,
        PayloadType.NONCE: _ONE,
        PayloadType.KE: _OPTIONAL,
        PayloadType.TS_I: _OPTIONAL,
        PayloadType.TS_R: _OPTIONAL,
    },
    (ExchangeType.INFORMATIONAL, False): {PayloadType.DELETE: _ANY},
    (ExchangeType.INFORMATIONAL, True): {PayloadType.DELETE: _ANY},
}
_RULES: Final = {
    key: {int(number): bounds for number, bounds in (rules | _FREE).items()}
    for key, rules in RULES.items()
}
_KNOWN: Final = frozenset(map(int, PayloadType))


def checked(header: Header, opened: Opened) -> Message:
    """What was in SK; PeerError where it is malformed, although authentic, or against the rules."""
    try:
        message = parse_plain(header, opened.first_payload, opened.chain)
    except WireError as error:
        raise InvalidSyntaxError(str(error)) from error
    check_rules(message)
    return message


def check_rules(message: Message) -> None:
    """PeerError where a payload is missing, too frequent, or critical and unknown.

    A response with an error notify instead of its payloads is in order (RFC 7296, 2.21).
    """
    for payload in message.payloads:
        critical = isinstance(payload, OpaquePayload) and payload.critical
        if critical and payload.payload_type not in _KNOWN:
            raise UnsupportedCriticalPayloadError(int(payload.payload_type))
    header = message.header
    try:
        key = ExchangeType(header.exchange_type), header.is_response
    except ValueError:
        raise InvalidSyntaxError(f"unknown exchange type {header.exchange_type}") from None
    rules = _RULES[key]
    refused = header.is_response and bool(message.notifies)
    counts: dict[int, int] = {}
    for payload in message.payloads:
        counts[payload.payload_type] = counts.get(payload.payload_type, 0) + 1
    for number, (least, most) in rules.items():
        count = counts.pop(number, 0)
        if count > most or (count < least and not refused):
            what = f"{header.exchange_name} has {count} payloads {PayloadType(number).name}"
            raise InvalidSyntaxError(f"{what}, not {least} to {most}")
    unexpected = sorted(set(counts) & _KNOWN)
    if unexpected:
        words = ", ".join(PayloadType(one).name for one in unexpected)
        raise InvalidSyntaxError(f"{header.exchange_name} must not have {words}")
