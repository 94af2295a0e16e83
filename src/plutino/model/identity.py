"""Identities of IKE: from the words of a configuration, and distinguished names (RFC 7296, 3.5)."""

import re
from collections.abc import Iterator
from enum import IntEnum
from ipaddress import ip_address
from typing import Final

from cryptography import x509


class IdType(IntEnum):
    """RFC 7296, 3.5."""

    IPV4_ADDR = 1
    FQDN = 2
    RFC822_ADDR = 3
    IPV6_ADDR = 5
    DER_ASN1_DN = 9
    DER_ASN1_GN = 10
    KEY_ID = 11


MOST_OCTETS: Final = 4096
"""Of a distinguished name that is looked into: whoever has proved nothing yet sends them."""
_LEVELS: Final = 3
"""Of those that have parts: the name, sets of attributes, and attributes (RFC 5280, 4.1.2.4)."""
_STRINGS: Final = {12, 19, 20, 22}
"""UTF8String and those that hold the same octets for the same ASCII."""
_UTF8: Final = 12
_CONSTRUCTED: Final = 0x20
_ATTRIBUTES: Final = {
    bytes.fromhex("550403"): "CN",
    bytes.fromhex("550406"): "C",
    bytes.fromhex("550407"): "L",
    bytes.fromhex("550408"): "ST",
    bytes.fromhex("55040a"): "O",
    bytes.fromhex("55040b"): "OU",
    bytes.fromhex("0992268993f22c640119"): "DC",
    bytes.fromhex("2a864886f70d010901"): "emailAddress",
}


def identity_of(text: str) -> tuple[IdType, bytes]:
    """Type and octets: an address, ``user@host``, ``@#HEX``, a distinguished name, or a name.

    ``@name`` is a name too, however it looks; ``@#`` is a KEY_ID. ValueError says what is wrong.
    """
    if not text:
        raise ValueError("an identity must not be empty")
    try:
        address = ip_address(text)
    except ValueError:
        pass
    else:
        kind = IdType.IPV4_ADDR if address.version == 4 else IdType.IPV6_ADDR
        return kind, address.packed
    if text.startswith("@#"):
        return IdType.KEY_ID, _key_id(text[2:])
    if text.startswith("@"):
        return IdType.FQDN, text[1:].encode()
    if "=" in text:
        return IdType.DER_ASN1_DN, _distinguished_name(text)
    return IdType.RFC822_ADDR if "@" in text else IdType.FQDN, text.encode()


def name_words(octets: bytes) -> str:
    """A distinguished name as ``openssl x509 -subject`` prints it; ValueError if it is none."""
    parts = []
    ((_, names),) = _elements(octets)
    for _, several in _elements(names):
        for _, attribute in _elements(several):
            (_, kind), (_, value) = _elements(attribute)
            words = value.decode("utf-8", "backslashreplace")
            parts.append(f"{_ATTRIBUTES.get(kind, kind.hex())}={words}")
    return ", ".join(parts)


def comparable_name(octets: bytes) -> bytes:
    """A distinguished name of which the kinds of its strings are gone (RFC 5280, 7.1).

    Of octets that are none, or too many: these themselves.
    """
    if len(octets) > MOST_OCTETS:
        return octets
    try:
        return _folded(octets, _LEVELS)
    except ValueError:
        return octets


def _key_id(text: str) -> bytes:
    try:
        octets = bytes.fromhex(text)
    except ValueError:
        octets = b""
    if not octets:
        raise ValueError("behind `@#` come the octets of a key id in hexadecimal")
    return octets


def _distinguished_name(text: str) -> bytes:
    """In the order of the certificate, which RFC 4514 turns around."""
    try:
        name = x509.Name.from_rfc4514_string(re.sub(r"\s*([=,+])\s*", r"\1", text.strip()))
    except ValueError:
        words = "is no distinguished name: such as `C=CH, O=Example, CN=paris`"
        raise ValueError(f"{words}, as `openssl x509 -noout -subject` prints it") from None
    return x509.Name(reversed(name.rdns)).public_bytes()


def _folded(octets: bytes, levels: int) -> bytes:
    folded = b""
    for tag, content in _elements(octets):
        if tag & _CONSTRUCTED:
            if not levels:
                raise ValueError("no distinguished name has so many levels")
            content = _folded(content, levels - 1)  # noqa: PLW2901 -- without kinds of strings
        kind = _UTF8 if tag in _STRINGS else tag
        folded += bytes((kind,)) + len(content).to_bytes(4, "big") + content
    return folded


def _elements(octets: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each element (DER); ValueError where a length is wrong."""
    at = 0
    while at < len(octets):
        header = octets[at : at + 2]
        size = 0
        if len(header) == 2 and header[1] & 0x80:
            size = header[1] & 0x7F
            header += octets[at + 2 : at + 2 + size]
        if len(header) != 2 + size or size > 2:
            raise ValueError("truncated DER")
        length = int.from_bytes(header[2:], "big") if size else header[1]
        at += len(header)
        if at + length > len(octets):
            raise ValueError("truncated DER")
        yield header[0], octets[at : at + length]
        at += length
