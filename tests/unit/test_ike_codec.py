"""Messages and payloads of IKEv2: what is encoded is parsed again, and nothing else gets in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plutino.ike.crypto.encryption import ENCRYPTIONS, NotAuthenticError
from plutino.ike.crypto.keymat import IkeKeys
from plutino.ike.errors import InvalidSyntaxError, PeerError, UnsupportedCriticalPayloadError
from plutino.ike.keys import CombinedCipher, IkeSuite
from plutino.ike.message.chain import encode_chain, parse_chain
from plutino.ike.message.fragments import MOST_OCTETS, Reassembly
from plutino.ike.message.header import Header
from plutino.ike.message.message import Message
from plutino.ike.message.protection import Cipher, Opened, open_message, parse_plain, seal_fragments
from plutino.ike.message.rules import check_rules
from plutino.ike.payloads.generic import NoncePayload, OpaquePayload, Payload
from plutino.ike.payloads.identification import CertPayload
from plutino.ike.payloads.key_exchange import KePayload
from plutino.ike.payloads.proposal import SaPayload, Transform
from plutino.ike.proposals import Chosen
from plutino.model.errors import WireError
from tests.support.ike_payloads import PAYLOADS

HEADER = Header(b"initiato", b"responde", 0, 37, 0x08, 7)


def random(size: int) -> bytes:
    return bytes(range(1, size + 1))


def cipher_of(encryption: Transform, *others: Transform) -> Cipher:
    transforms = {one.type: one for one in (encryption, *others)}
    suite = IkeSuite.of(Chosen(1, 1, b"", transforms))
    sizes = suite.sizes
    keys = IkeKeys(b"", b"", b"", bytes(sizes.encryption), b"", b"", b"")
    return suite.cipher(keys.ei, bytes(sizes.integrity))


CIPHERS = [
    cipher_of(Transform(1, 20, 256), Transform(2, 5)),
    cipher_of(Transform(1, 18, 128), Transform(2, 5)),
    cipher_of(Transform(1, 16, 128), Transform(2, 5)),
    cipher_of(Transform(1, 28), Transform(2, 5)),
    cipher_of(Transform(1, 12, 256), Transform(2, 5), Transform(3, 12)),
    cipher_of(Transform(1, 12, 128), Transform(2, 4), Transform(3, 5)),
    cipher_of(Transform(1, 13, 128), Transform(2, 8), Transform(3, 8)),
]

COMBINED = CombinedCipher(ENCRYPTIONS[20], bytes(20))  # type: ignore[arg-type]


def open_all(datagrams: list[bytes], cipher: Cipher) -> Message | None:
    reassembly, whole = Reassembly(), None
    for one in datagrams:
        header = Header.parse(memoryview(one))
        whole = reassembly.add(open_message(header, memoryview(one), cipher))
    return None if whole is None else parse_plain(HEADER, whole.first_payload, whole.chain)


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda one: type(one).__name__)
def test_a_payload_comes_back_and_no_part_of_it_does(payload: Payload) -> None:
    first, chain = encode_chain([payload])
    assert parse_chain(first, memoryview(chain)) == (payload,)
    for length in range(len(chain)):
        with pytest.raises(WireError):
            parse_chain(first, memoryview(chain)[:length])


@pytest.mark.parametrize("cipher", CIPHERS)
def test_what_is_sealed_is_opened_and_any_change_is_found(cipher: Cipher) -> None:
    message = Message(HEADER, tuple(PAYLOADS))
    (sealed,) = seal_fragments(message, cipher, random, 60000)
    assert Header.parse(memoryview(sealed)).length == len(sealed)
    opened = open_all([sealed], cipher)
    assert opened is not None
    assert opened.payloads == tuple(PAYLOADS)
    for place in range(0, len(sealed), 7):
        changed = bytearray(sealed)
        changed[place] ^= 1
        with pytest.raises((NotAuthenticError, WireError)):
            open_all([bytes(changed)], cipher)


@pytest.mark.parametrize("cipher", CIPHERS)
def test_fragments_are_as_small_as_they_must_be_and_make_the_whole(cipher: Cipher) -> None:
    message = Message(HEADER, (*PAYLOADS, CertPayload(4, bytes(3000))))
    fragments = seal_fragments(message, cipher, random, 576)
    assert len(fragments) > 5
    assert max(map(len, fragments)) <= 576
    assert [one[28] for one in fragments] == [int(PAYLOADS[0].payload_type)] + [0] * (
        len(fragments) - 1
    )
    for order in (fragments, fragments[::-1], fragments + fragments):
        opened = open_all(order, cipher)
        if order is not fragments + fragments:
            assert opened is None or opened.payloads == message.payloads
    assert open_all(fragments[:-1], cipher) is None
    whole = open_all(fragments[::-1], cipher)
    assert whole is not None
    assert whole.payloads == message.payloads


def piece(number: int, total: int, chain: bytes = b"x") -> Opened:
    return Opened(33 if number == 1 else 0, chain, number, total)


def test_smaller_fragments_take_the_place_of_those_before() -> None:
    """RFC 7383, 2.6: of a larger total all is taken anew, one of a smaller total is late."""
    reassembly = Reassembly()
    assert reassembly.add(piece(1, 2, b"old")) is None
    assert reassembly.add(piece(2, 3, b"b")) is None
    assert reassembly.add(piece(1, 2, b"late")) is None
    assert reassembly.add(piece(2, 3, b"doubled")) is None
    assert reassembly.add(piece(3, 3, b"c")) is None
    assert reassembly.add(piece(1, 3, b"a")) == Opened(33, b"abc")


def test_a_message_in_one_piece_is_whole_whatever_came_before() -> None:
    reassembly = Reassembly()
    reassembly.add(piece(1, 3))
    assert reassembly.add(Opened(33, b"all")) == Opened(33, b"all")


def test_fragments_take_no_more_memory_than_a_message_may() -> None:
    """Whoever can begin a key exchange can send them."""
    reassembly = Reassembly()
    for number in range(1, 65):
        assert reassembly.add(piece(number, 64, bytes(60000))) is None
        assert sum(len(one.chain) for one in reassembly.pieces.values()) <= MOST_OCTETS


@given(st.integers(0, 255), st.binary(max_size=200))
def test_any_chain_is_parsed_or_refused(first: int, octets: bytes) -> None:
    """Total: nothing but WireError comes out, and what is taken is encoded as it came."""
    try:
        payloads = parse_chain(first, memoryview(octets))
    except WireError:
        return
    number, chain = encode_chain(payloads)
    assert parse_chain(number, memoryview(chain)) == payloads


@given(st.binary(max_size=120))
def test_any_datagram_is_parsed_or_refused(octets: bytes) -> None:
    try:
        header = Header.parse(memoryview(octets))
        check_rules(Message.parse_clear(header, memoryview(octets)))
    except (WireError, PeerError):
        return


def test_rules_name_what_is_missing_and_what_is_too_much() -> None:
    init = Header(b"initiato", bytes(8), 0, 34, 0x08, 0)
    with pytest.raises(InvalidSyntaxError, match="0 payloads SA"):
        check_rules(Message(init, (KePayload(31, b""), NoncePayload(bytes(16)))))
    nonces = (NoncePayload(bytes(16)),) * 2
    with pytest.raises(InvalidSyntaxError, match="2 payloads NONCE"):
        check_rules(Message(init, (SaPayload(()), KePayload(31, b""), *nonces)))
    with pytest.raises(UnsupportedCriticalPayloadError) as caught:
        check_rules(Message(HEADER, (OpaquePayload(200, True, b""),)))
    assert caught.value.data == b"\xc8"
    check_rules(Message(HEADER, (OpaquePayload(200, False, b""),)))


@pytest.mark.parametrize("padding", [b"\0", b"abc\3", bytes(range(200)) + b"\xc8"])
def test_padding_may_be_of_any_content_and_length(padding: bytes) -> None:
    """RFC 7296, 3.14; RFC 5282, 3: the sender chooses."""
    mode = COMBINED.mode
    sealed = bytes(8) + mode.seal(COMBINED.keymat, bytes(8), b"header", b"payloads" + padding)
    assert COMBINED.open(b"header", sealed) == b"payloads"
    for wrong in (b"", b"\1", b"abc\xff"):
        sealed = bytes(8) + mode.seal(COMBINED.keymat, bytes(8), b"header", wrong)
        with pytest.raises(NotAuthenticError):
            COMBINED.open(b"header", sealed)
