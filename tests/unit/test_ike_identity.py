"""Who is who: the words of a configuration and the octets of IDi and IDr (RFC 7296, 3.5 and 4)."""

from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

from plutino.config.load import load_text
from plutino.ike.auth.certificates import bears
from plutino.ike.auth.identity import Identity, parse_identity
from plutino.ike.payloads.identification import IdPayload
from plutino.model.errors import ConfigError
from plutino.model.identity import MOST_OCTETS
from tests.support.pki import KEYS, issue

PARIS = "C=CH, O=Example Ltd, CN=paris"


@pytest.mark.parametrize(
    ("text", "id_type", "octets"),
    [
        ("192.0.2.1", 1, b"\xc0\0\2\1"),
        ("2001:db8::1", 5, bytes.fromhex("20010db8000000000000000000000001")),
        ("paris.example", 2, b"paris.example"),
        ("@192.0.2.1", 2, b"192.0.2.1"),
        ("carol@example.org", 3, b"carol@example.org"),
        ("@#70617269730a", 11, b"paris\n"),
    ],
)
def test_words_and_octets(text: str, id_type: int, octets: bytes) -> None:
    identity = parse_identity(text)
    assert (identity.id_type, identity.data) == (id_type, octets)
    assert str(identity) == text.removeprefix("@" if id_type == 2 else "")


def name(kind: _ASN1Type) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "CH"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example Ltd", kind),
            x509.NameAttribute(NameOID.COMMON_NAME, "paris", kind),
        ]
    )


@pytest.mark.parametrize("kind", [_ASN1Type.PrintableString, _ASN1Type.UTF8String])
def test_a_distinguished_name_is_compared_by_its_words(kind: _ASN1Type) -> None:
    """Peers and authorities choose kinds of strings of their own (RFC 5280, 7.1)."""
    theirs = Identity(9, name(kind).public_bytes())
    for text in (PARIS, "C = CH, O = Example Ltd, CN = paris"):
        assert parse_identity(text) == theirs
        assert hash(parse_identity(text)) == hash(theirs)
    for other in ("C=CH, O=Example Ltd, CN=pariS", "CN=paris, O=Example Ltd, C=CH", "CN=paris"):
        assert parse_identity(other) != theirs
    assert str(theirs) == PARIS
    assert Identity(2, theirs.data) != theirs
    assert Identity(9, theirs.data[:-1]) != theirs
    assert str(Identity(9, b"\x30\x05\1")).startswith("type 9 ")


def nested(octets: int) -> bytes:
    """Sequences within sequences."""
    found = b""
    while len(found) < octets:
        size = len(found)
        length = bytes((size,)) if size < 0x80 else b"\x82" + size.to_bytes(2, "big")
        found = b"\x30" + length + found
    return found


@pytest.mark.parametrize("octets", [nested(60_000), nested(MOST_OCTETS - 4), b"\5\0" * 30_000])
def test_no_name_of_a_stranger_costs_more_than_its_octets(octets: bytes) -> None:
    """It comes before anybody has proved anything; there was an end of the IKE process by it."""
    one = Identity(9, octets)
    assert one != parse_identity(PARIS)
    assert one == Identity(9, octets)
    assert one._compared[1] is octets  # nothing has been made of it
    assert len(str(one)) < 10_000


@pytest.mark.parametrize("kind", [_ASN1Type.PrintableString, _ASN1Type.UTF8String])
def test_a_certificate_bears_its_subject(kind: _ASN1Type) -> None:
    key = KEYS["ecdsa"]()
    made = (
        x509.CertificateBuilder()
        .subject_name(name(kind))
        .issuer_name(name(kind))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2027, 1, 1, tzinfo=UTC))
        .sign(key, hashes.SHA256())
    )
    assert bears(made, parse_identity(PARIS))
    assert not bears(made, parse_identity("C=CH, O=Example Ltd, CN=berlin"))
    assert not bears(made, parse_identity("paris"))


def test_a_certificate_bears_the_identifier_of_its_key() -> None:
    """RFC 7296, 4: a KEY_ID with a certificate; RFC 5280, 4.2.1.2: the authority's own words."""
    one, other = (issue("paris", dns="paris.example") for _ in range(2))
    keys = [
        x509.SubjectKeyIdentifier.from_public_key(each.key.public_key()) for each in (one, other)
    ]
    assert bears(one.certificate, parse_identity(f"@#{keys[0].digest.hex()}"))
    for octets in (keys[1].digest, keys[0].digest[:-1], b"paris.example"):
        assert not bears(one.certificate, parse_identity(f"@#{octets.hex()}"))


def test_reserved_octets_of_an_id_are_covered_as_they_came() -> None:
    """RFC 7296, 2.15: RestOfInitIDPayload; else they are ignored."""
    body = b"\2\1\2\3paris"
    assert IdPayload.parse_initiator(memoryview(body)).encode() == body


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "must not be empty"),
        ("@#", "hexadecimal"),
        ("@#xy", "hexadecimal"),
        ("foo=", "subject"),
    ],
)
@pytest.mark.parametrize("key", ["local-id", "remote-id"])
def test_words_that_make_no_identity(text: str, why: str, key: str) -> None:
    tunnel = (
        '[tunnels.berlin]\ninterface = "ipsec1"\nlocal = "192.0.2.1"\nremote = "198.51.100.2"\n'
        f'ike.psk-file = "berlin.psk"\nike.{key} = "{text}"\n'
    )
    with pytest.raises(ConfigError, match=why) as caught:
        load_text(tunnel, "gateway.toml")
    assert key in str(caught.value)
