"""The chain of payloads: generic headers and which class reads which body (RFC 7296, 3.2)."""

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from plutino.ike.numbers import PayloadType
from plutino.ike.payloads.generic import NoncePayload, OpaquePayload, Payload
from plutino.ike.payloads.identification import AuthPayload, CertPayload, CertReqPayload, IdPayload
from plutino.ike.payloads.key_exchange import KePayload
from plutino.ike.payloads.notify import DeletePayload, NotifyPayload
from plutino.ike.payloads.proposal import SaPayload
from plutino.ike.payloads.traffic_selector import TsPayload
from plutino.model.errors import WireError

GENERIC_HEADER: Final = struct.Struct("!BBH")
ENCRYPTED: Final = frozenset({int(PayloadType.SK), int(PayloadType.SKF)})
_CRITICAL: Final = 0x80
MAX_PAYLOADS: Final = 128
"""More than any honest message has; bounds the work that one datagram can cause."""

_PARSERS: Final[dict[int, Callable[[memoryview], Payload]]] = {
    PayloadType.SA: SaPayload.parse,
    PayloadType.KE: KePayload.parse,
    PayloadType.ID_I: IdPayload.parse_initiator,
    PayloadType.ID_R: IdPayload.parse_responder,
    PayloadType.CERT: CertPayload.parse,
    PayloadType.CERTREQ: CertReqPayload.parse,
    PayloadType.AUTH: AuthPayload.parse,
    PayloadType.NONCE: NoncePayload.parse,
    PayloadType.NOTIFY: NotifyPayload.parse,
    PayloadType.DELETE: DeletePayload.parse,
    PayloadType.TS_I: TsPayload.parse_initiator,
    PayloadType.TS_R: TsPayload.parse_responder,
}


def split_chain(first: int, body: memoryview) -> Iterator[tuple[int, bool, int, memoryview]]:
    """Number, critical bit, next number and body of each payload.

    An encrypted payload ends the chain, whatever its "next payload" says (RFC 7296, 3.14).
    WireError where lengths do not fit, or bytes are left over.
    """
    number, offset, count = first, 0, 0
    while number != PayloadType.NONE:
        count += 1
        if count > MAX_PAYLOADS:
            raise WireError("chain of payloads", offset=offset, why=f"more than {MAX_PAYLOADS}")
        if len(body) - offset < GENERIC_HEADER.size:
            raise WireError("generic payload header", offset=offset, why="truncated")
        following, flags, length = GENERIC_HEADER.unpack_from(body, offset)
        if not GENERIC_HEADER.size <= length <= len(body) - offset:
            why = f"length {length} of {len(body) - offset} bytes"
            raise WireError("generic payload header", offset=offset, why=why)
        part = body[offset + GENERIC_HEADER.size : offset + length]
        yield number, bool(flags & _CRITICAL), following, part
        offset += length
        if number in ENCRYPTED:
            break
        number = following
    if offset != len(body):
        raise WireError("chain of payloads", offset=offset, why=f"{len(body) - offset} bytes left")


def parse_chain(first: int, body: memoryview) -> tuple[Payload, ...]:
    """All payloads in clear; WireError from the first that is malformed."""
    return tuple(
        _PARSERS[number](part)
        if number in _PARSERS
        else OpaquePayload(number, critical, bytes(part))
        for number, critical, _, part in split_chain(first, body)
    )


def encode_chain(payloads: Sequence[Payload]) -> tuple[int, bytes]:
    """The number of the first payload (0 for none) and all of them with their headers.

    ValueError if one is longer than 65,535 bytes.
    """
    numbers = [int(one.payload_type) for one in payloads] + [int(PayloadType.NONE)]
    parts: list[bytes] = []
    for payload, following in zip(payloads, numbers[1:], strict=True):
        body = payload.encode()
        length = GENERIC_HEADER.size + len(body)
        if length > 0xFFFF:
            raise ValueError(
                f"payload {payload.payload_type} has {length} bytes, at most 65535 fit"
            )
        critical = isinstance(payload, OpaquePayload) and payload.critical
        parts.append(GENERIC_HEADER.pack(following, _CRITICAL if critical else 0, length) + body)
    return numbers[0], b"".join(parts)
