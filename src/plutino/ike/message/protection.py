"""The SK payload: what protects every message after IKE_SA_INIT (RFC 7296, 3.14; RFC 5282)."""

from collections.abc import Callable
from dataclasses import field, replace
from typing import Final, Protocol

from plutino.ike.message.chain import ENCRYPTED, GENERIC_HEADER, encode_chain, parse_chain
from plutino.ike.message.header import Header
from plutino.ike.message.message import Message
from plutino.ike.numbers import PayloadType
from plutino.model.errors import WireError
from plutino.model.wire_value import wire_value

Random = Callable[[int], bytes]
"""Gives so many unpredictable bytes."""


class Cipher(Protocol):
    """One direction's encryption and integrity with their keys."""

    @property
    def overhead(self) -> int:
        """Bytes at most that IV, padding, pad length and ICV add to the payloads."""

    def seal(self, associated: bytes, plaintext: bytes, random: Random) -> bytes:
        """IV, ciphertext with padding, ICV. ``associated`` has its lengths already.

        Without a combined mode the ICV covers ``associated`` and what stands before the ICV.
        """

    def sealed_size(self, plaintext_size: int) -> int:
        """Bytes that ``seal`` will give."""

    def open(self, associated: bytes, sealed: bytes) -> bytes:
        """The plaintext without padding; NotAuthenticError if it is not what the peer sealed."""


@wire_value
class Opened:
    """The inside of an SK payload, or of one SKF payload (RFC 7383, 2.5) with its place."""

    first_payload: int
    chain: bytes = field(repr=False)
    number: int = 1
    total: int = 1


FRAGMENT_FIELDS: Final = 4
_MAX_FRAGMENTS: Final = 64


def seal_fragments(message: Message, cipher: Cipher, random: Random, limit: int) -> list[bytes]:
    """One datagram if it fits ``limit`` bytes, else SKF fragments that do (RFC 7383, 2.5)."""
    first, chain = encode_chain(message.payloads)
    fixed = Header.FIXED.size + GENERIC_HEADER.size
    if fixed + cipher.sealed_size(len(chain)) <= limit:
        return [_Envelope(message.header, PayloadType.SK, first).seal(chain, cipher, random)]
    piece = max(limit - fixed - FRAGMENT_FIELDS - cipher.overhead, 64)
    pieces = [chain[at : at + piece] for at in range(0, len(chain), piece)]
    envelopes = (
        _Envelope(
            message.header,
            PayloadType.SKF,
            first if number == 1 else PayloadType.NONE,
            number.to_bytes(2, "big") + len(pieces).to_bytes(2, "big"),
        )
        for number in range(1, len(pieces) + 1)
    )
    return [
        envelope.seal(one, cipher, random) for envelope, one in zip(envelopes, pieces, strict=True)
    ]


def open_message(header: Header, datagram: memoryview, cipher: Cipher) -> Opened:
    """What is inside SK or SKF.

    NotAuthenticError if the check fails, WireError if there is no encrypted payload at the end.
    Payloads in clear before it are not looked at (RFC 7296, 3.14).
    """
    number, first, start = _encrypted_payload(header, datagram)
    body = bytes(datagram[start:])
    prefix = bytes(datagram[:start])
    if number == PayloadType.SK:
        return Opened(first, cipher.open(prefix, body))
    if len(body) < FRAGMENT_FIELDS:
        raise WireError("SKF payload", offset=start, why="truncated")
    fields, sealed = body[:FRAGMENT_FIELDS], body[FRAGMENT_FIELDS:]
    place, total = int.from_bytes(fields[:2], "big"), int.from_bytes(fields[2:], "big")
    if not 1 <= place <= total <= _MAX_FRAGMENTS:
        raise WireError("SKF payload", offset=start, why=f"fragment {place} of {total}")
    return Opened(first, cipher.open(prefix + fields, sealed), place, total)


def parse_plain(header: Header, first: int, chain: bytes) -> Message:
    """A message from the chain inside SK, or inside all SKF; WireError if it is malformed."""
    return Message(header, parse_chain(first, memoryview(chain)), chain)


def _encrypted_payload(header: Header, datagram: memoryview) -> tuple[int, int, int]:
    """Its number, the number of the first payload inside, and where its body starts."""
    number, offset = header.next_payload, Header.FIXED.size
    while number not in ENCRYPTED:
        if number == PayloadType.NONE or len(datagram) - offset < GENERIC_HEADER.size:
            raise WireError("message", offset=offset, why="no encrypted payload")
        number, _, length = GENERIC_HEADER.unpack_from(datagram, offset)
        if length < GENERIC_HEADER.size:
            raise WireError("generic payload header", offset=offset, why=f"length {length}")
        offset += length
    if len(datagram) - offset < GENERIC_HEADER.size:
        raise WireError("encrypted payload", offset=offset, why="truncated")
    first, _, length = GENERIC_HEADER.unpack_from(datagram, offset)
    if length != len(datagram) - offset:
        raise WireError("encrypted payload", offset=offset, why="it is not the last")
    return number, first, offset + GENERIC_HEADER.size


@wire_value
class _Envelope:
    """What stands before the encrypted bytes: header, generic header, fields of SKF."""

    header: Header
    number: PayloadType
    first: int
    fields: bytes = b""

    def seal(self, chain: bytes, cipher: Cipher, random: Random) -> bytes:
        size = GENERIC_HEADER.size + len(self.fields) + cipher.sealed_size(len(chain))
        length = Header.FIXED.size + size
        header = replace(self.header, next_payload=self.number, length=length)
        associated = header.encode() + GENERIC_HEADER.pack(self.first, 0, size) + self.fields
        return associated + cipher.seal(associated, chain, random)
