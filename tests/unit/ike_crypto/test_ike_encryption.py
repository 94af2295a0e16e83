"""Encryption of IKE's messages: published vectors, refusals, and agreement with ESP's table."""

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305
from hypothesis import given
from hypothesis import strategies as st

from plutino.ike.crypto.encryption import (
    ENCRYPTIONS,
    FIXED_KEY_SIZES,
    CombinedMode,
    NotAuthenticError,
    PlainCipher,
)
from plutino.model.algorithms import ESP_SUITES

COMBINED = [one for one in ENCRYPTIONS.values() if isinstance(one, CombinedMode)]
PLAIN = [one for one in ENCRYPTIONS.values() if isinstance(one, PlainCipher)]


def number(one: CombinedMode | PlainCipher) -> str:
    return str(one.ike_id)


def mode(ike_id: int) -> CombinedMode:
    found = ENCRYPTIONS[ike_id]
    assert isinstance(found, CombinedMode)
    return found


def cipher(ike_id: int) -> PlainCipher:
    found = ENCRYPTIONS[ike_id]
    assert isinstance(found, PlainCipher)
    return found


def test_chacha20_poly1305_of_an_ike_message() -> None:
    """RFC 7634, appendix B: header of IKE and of the SK payload, then IV and a notify."""
    keymat = bytes(range(0x80, 0xA0)) + bytes.fromhex("a0a1a2a3")
    iv = bytes.fromhex("1011121314151617")
    associated = bytes.fromhex("c0c1c2c3c4c5c6c7d0d1d2d3d4d5d6d72e202500000000090000004529000029")
    plaintext = bytes.fromhex("0000000c000040010000000a00")
    sealed = mode(28).seal(keymat, iv, associated, plaintext)
    assert sealed.hex() == "610394701f8d017f7c129248896b71bfe25236efd7cdc67066906315b2"
    assert mode(28).open(keymat, iv, associated, sealed) == plaintext


def test_aes_ctr() -> None:
    """RFC 3686, 6, test vector 1: the nonce follows the key, the counter starts at 1."""
    keymat = bytes.fromhex("ae6852f8121067cc4bf7a5765577f39e00000030")
    sealed = cipher(13).encrypt(keymat, bytes(8), b"Single block msg")
    assert sealed.hex() == "e4095d4fb7a7b3792d6175a3261311b8"
    assert cipher(13).decrypt(keymat, bytes(8), sealed) == b"Single block msg"


def test_aes_cbc() -> None:
    """RFC 3602, 4, case 1."""
    key = bytes.fromhex("06a9214036b8a15b512e03d534120006")
    iv = bytes.fromhex("3dafba429d9eb430b422da802c9fac41")
    sealed = cipher(12).encrypt(key, iv, b"Single block msg")
    assert sealed.hex() == "e353779c1079aeb82708942dbe77181a"


@pytest.mark.parametrize("one", COMBINED, ids=number)
@given(data=st.data())
def test_a_combined_mode_is_the_librarys_with_salt_and_iv_as_nonce(
    one: CombinedMode, data: st.DataObject
) -> None:
    """RFC 5282, 4 and 5; a shorter ICV of GCM is the longest, truncated (RFC 4106, 6)."""
    key = data.draw(st.sampled_from([bytes(range(size)) for size in one.key_sizes]))
    salt = data.draw(st.binary(min_size=one.salt_size, max_size=one.salt_size))
    iv, associated, plaintext = (
        data.draw(st.binary(min_size=8, max_size=8)),
        data.draw(st.binary(max_size=64)),
        data.draw(st.binary(max_size=100)),
    )
    if one.ike_id in (14, 15, 16):
        expected = AESCCM(key, one.icv_size).encrypt(salt + iv, plaintext, associated)
    else:
        library = ChaCha20Poly1305 if one.ike_id == 28 else AESGCM
        expected = library(key).encrypt(salt + iv, plaintext, associated)
        expected = expected[: len(plaintext) + one.icv_size]
    assert one.seal(key + salt, iv, associated, plaintext) == expected
    assert one.open(key + salt, iv, associated, expected) == plaintext


@pytest.mark.parametrize("one", COMBINED, ids=number)
def test_what_was_changed_or_cut_does_not_open(one: CombinedMode) -> None:
    keymat, iv = bytes(one.key_sizes[-1] + one.salt_size), bytes(8)
    sealed = one.seal(keymat, iv, b"associated", b"plaintext")
    assert len(sealed) == 9 + one.icv_size
    for length in range(len(sealed)):
        with pytest.raises(NotAuthenticError):
            one.open(keymat, iv, b"associated", sealed[:length])
        wrong = bytearray(sealed)
        wrong[length] ^= 0x80
        with pytest.raises(NotAuthenticError):
            one.open(keymat, iv, b"associated", bytes(wrong))
    for other in ((keymat, b"\1" * 8, b"associated"), (keymat, iv, b"other")):
        with pytest.raises(NotAuthenticError):
            one.open(*other, sealed)


@pytest.mark.parametrize("one", PLAIN, ids=number)
def test_plain_ciphers_open_what_they_seal(one: PlainCipher) -> None:
    for size in one.key_sizes:
        keymat = bytes(range(size + one.salt_size))
        iv, plaintext = bytes(range(one.iv_size)), bytes(4 * one.block_size)
        sealed = one.encrypt(keymat, iv, plaintext)
        assert len(sealed) == len(plaintext)
        assert one.decrypt(keymat, iv, sealed) == plaintext


def test_sizes_are_those_of_esp() -> None:
    """One registry serves both (RFC 7296, 3.3.2); so the sizes must be the same."""
    seen = set()
    for suite in ESP_SUITES.values():
        esp = suite.encryption
        own = ENCRYPTIONS.get(esp.ike_id)
        if own is None:
            continue
        seen.add(esp.ike_id)
        assert esp.key_size in own.key_sizes
        assert (esp.salt_size, esp.iv_size) == (own.salt_size, own.iv_size)
        if isinstance(own, CombinedMode):
            assert esp.icv_size == own.icv_size
    assert set(ENCRYPTIONS) - seen == {3}


def test_fixed_key_sizes_are_the_only_ones() -> None:
    for ike_id, size in FIXED_KEY_SIZES.items():
        assert ENCRYPTIONS[ike_id].key_sizes == (size,)


def test_only_triple_des_is_weak() -> None:
    assert [one.ike_id for one in PLAIN if one.weak] == [3]
