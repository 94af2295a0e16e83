"""What later versions of IKE may use: it is zero when sent and ignored when it comes (2.5, 3.1)."""

import pytest

from plutino.ike.message.chain import encode_chain, parse_chain
from plutino.ike.message.header import Header
from plutino.ike.numbers import PayloadType
from plutino.ike.payloads.generic import NoncePayload, OpaquePayload, Payload
from plutino.ike.payloads.identification import AuthPayload, IdPayload
from plutino.ike.payloads.key_exchange import KePayload
from plutino.ike.payloads.proposal import Proposal, SaPayload, Transform
from plutino.ike.payloads.traffic_selector import TsPayload
from tests.support.ike_network import ANY, IkePair

SA = SaPayload((Proposal(1, 3, b"\1\2\3\4", (Transform(1, 20, 128), Transform(5, 0))),))
RESERVED: list[tuple[Payload, tuple[int, ...]]] = [
    (SA, (5, 17, 21, 29, 33)),
    (KePayload(31, bytes(32)), (6, 7)),
    (AuthPayload(2, b"proof"), (5, 6, 7)),
    (TsPayload(PayloadType.TS_I, ANY), (5, 6, 7)),
    (NoncePayload(bytes(16)), ()),
]
"""Payloads with the places of their reserved octets, counted from the generic header."""


@pytest.mark.parametrize(("payload", "places"), RESERVED, ids=lambda one: type(one).__name__)
def test_reserved_octets_of_payloads(payload: Payload, places: tuple[int, ...]) -> None:
    first, chain = encode_chain([payload])
    assert [chain[place] for place in (1, *places)] == [0] * (1 + len(places))
    changed = bytearray(chain)
    changed[1] = 0x7F
    for place in places:
        changed[place] = 0xFF
    assert parse_chain(first, memoryview(changed)) == (payload,)


def test_the_critical_bit_of_what_is_known_says_nothing() -> None:
    """RFC 7296, 3.2: and none of ours has it."""
    for payload in (*(one for one, _ in RESERVED), IdPayload(PayloadType.ID_I, 2, b"paris")):
        first, chain = encode_chain([payload])
        assert not chain[1] & 0x80
        assert parse_chain(first, memoryview(bytes((0, 0x80)) + chain[2:])) == (payload,)


def test_unknown_payloads_are_passed_over_with_all_that_is_in_them() -> None:
    payloads = (NoncePayload(bytes(16)), OpaquePayload(200, False, b"\xff" * 9), SA)
    first, chain = encode_chain(payloads)
    assert parse_chain(first, memoryview(chain)) == payloads


@pytest.mark.parametrize(
    ("place", "bits"),
    [(17, 0x05), (19, 0x10), (19, 0xC7)],
    ids=["minor version", "version flag", "reserved flags"],
)
def test_two_ends_of_a_later_minor_version_understand_each_other(
    monkeypatch: pytest.MonkeyPatch, place: int, bits: int
) -> None:
    plain = Header.encode
    assert not plain(Header(bytes(8), bytes(8), 0, 34, 0x08, 0))[place] & bits

    def encode(self: Header) -> bytes:
        octets = bytearray(plain(self))
        octets[place] |= bits
        return bytes(octets)

    monkeypatch.setattr(Header, "encode", encode)
    IkePair().establish()
