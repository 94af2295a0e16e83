"""PRFs and integrity algorithms of IKE, by the vectors of their RFCs."""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plutino.ike.crypto.integrity import INTEGRITIES
from plutino.ike.crypto.prf import PRFS
from plutino.ike.exchanges.key_exchange import NONCE_SIZE

COUNTED = bytes(range(64))
HI_THERE = b"Hi There"

XCBC = [
    # RFC 3566, 4.6: message, MAC under the key 000102..0f
    (b"", "75f0251d528ac01c4573dfd584d79f29"),
    (COUNTED[:3], "5b376580ae2f19afe7219ceef172756f"),
    (COUNTED[:16], "d2a246fa349b68a79998a4394ff7a263"),
    (COUNTED[:20], "47f51b4564966215b8985c63055ed308"),
    (COUNTED[:32], "f54f0ec8d2b9f3d36807734bd5283fd4"),
    (COUNTED[:34], "becbb3bccdb518a30677d5481fb6b4d8"),
    (bytes(1000), "f0dafee895db30253761103b5d84528f"),
]
PRF_VECTORS = [
    # RFC 4434, 2.1 (AES-XCBC-PRF-128): keys of 16, 10 and 18 bytes
    (4, COUNTED[:16], COUNTED[:20], "47f51b4564966215b8985c63055ed308"),
    (4, COUNTED[:10], COUNTED[:20], "0fa087af7d866e7653434e602fdde835"),
    (4, COUNTED[:16] + b"\xed\xcb", COUNTED[:20], "8cd3c93ae598a9803006ffb67c40e9e4"),
    # RFC 4615, 4 (AES-CMAC-PRF-128): keys of 18, 16 and 10 bytes
    (8, COUNTED[:16] + b"\xed\xcb", COUNTED[:20], "84a348a4a45d235babfffc0d2b4da09a"),
    (8, COUNTED[:16], COUNTED[:20], "980ae87b5f4c9c5214f5b6a8455e4c2d"),
    (8, COUNTED[:10], COUNTED[:20], "290d9e112edb09ee141fcf64c0b72f3d"),
    # RFC 4868, 2.7.1 (PRF-HMAC-SHA-256), its first
    (5, b"\x0b" * 20, HI_THERE, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
]
INTEGRITY_VECTORS = [
    # RFC 4868, 2.7.2: the first of each
    (12, b"\x0b" * 32, "198a607eb44bfbc69903a0f1cf2bbdc5"),
    (13, b"\x0b" * 48, "b6a8d5636f5c6a7224f9977dcf7ee6c7fb6d0c48cbdee973"),
    (14, b"\x0b" * 64, "637edc6e01dce7e6742a99451aae82df23da3e92439e590e43e761b33e910fb8"),
    # RFC 2202, 3: the first, truncated to 96 bits
    (2, b"\x0b" * 20, "b617318655057264e28bc0b6"),
]
HASHES = {2: hashlib.sha1, 5: hashlib.sha256, 6: hashlib.sha384, 7: hashlib.sha512}


@pytest.mark.parametrize(("message", "mac"), XCBC)
def test_aes_xcbc_96(message: bytes, mac: str) -> None:
    assert INTEGRITIES[5].compute(COUNTED[:16], message).hex() == mac[:24]


@pytest.mark.parametrize(("message", "mac"), XCBC)
def test_aes_xcbc_prf(message: bytes, mac: str) -> None:
    assert PRFS[4].compute(COUNTED[:16], message).hex() == mac


@pytest.mark.parametrize(("number", "key", "message", "output"), PRF_VECTORS)
def test_prfs(number: int, key: bytes, message: bytes, output: str) -> None:
    assert PRFS[number].compute(key, message).hex() == output


@pytest.mark.parametrize(("number", "key", "icv"), INTEGRITY_VECTORS)
def test_integrity(number: int, key: bytes, icv: str) -> None:
    integrity = INTEGRITIES[number]
    assert len(key) == integrity.key_size
    assert integrity.compute(key, HI_THERE).hex() == icv
    assert integrity.matches(key, HI_THERE, bytes.fromhex(icv))


@pytest.mark.parametrize("number", HASHES)
@given(key=st.binary(max_size=200), data=st.binary(max_size=300))
def test_hmacs_agree_with_pythons(number: int, key: bytes, data: bytes) -> None:
    assert PRFS[number].compute(key, data) == hmac.digest(key, data, HASHES[number])


def test_aes_cmac_96() -> None:
    """RFC 4493, 4: the first two, truncated as RFC 4494 says."""
    key = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
    block = bytes.fromhex("6bc1bee22e409f96e93d7e117393172a")
    assert INTEGRITIES[8].compute(key, b"").hex() == "bb1d6929e95937287fa37d12"
    assert INTEGRITIES[8].compute(key, block).hex() == "070a16b46b4d4144f79bdd9d"


@pytest.mark.parametrize("number", INTEGRITIES)
def test_an_icv_of_one_wrong_bit_or_another_length_does_not_match(number: int) -> None:
    integrity = INTEGRITIES[number]
    key = bytes(integrity.key_size)
    icv = integrity.compute(key, b"data")
    assert len(icv) == integrity.icv_size
    for bit in range(8 * len(icv)):
        wrong = (int.from_bytes(icv, "big") ^ 1 << bit).to_bytes(len(icv), "big")
        assert not integrity.matches(key, b"data", wrong)
    for other in (b"", icv[:-1], icv + b"\0"):
        assert not integrity.matches(key, b"data", other)


@pytest.mark.parametrize("number", PRFS)
def test_prf_plus_is_a_stream_of_at_most_255_blocks(number: int) -> None:
    """RFC 7296, 2.13: T1 = prf(K, S | 1), T2 = prf(K, T1 | S | 2), ..."""
    prf = PRFS[number]
    assert len(prf.compute(b"key", b"data")) == prf.output_size
    longest = 255 * prf.output_size
    stream = prf.plus(b"key", b"seed", longest)
    first = prf.compute(b"key", b"seed\x01")
    assert stream.startswith(first + prf.compute(b"key", first + b"seed\x02"))
    for length in (0, 1, prf.output_size, prf.output_size + 1):
        assert prf.plus(b"key", b"seed", length) == stream[:length]
    with pytest.raises(ValueError, match="at most"):
        prf.plus(b"key", b"seed", longest + 1)


def test_only_sha1_is_weak() -> None:
    assert [one.name for one in PRFS.values() if one.weak] == ["prfsha1"]
    assert [one.name for one in INTEGRITIES.values() if one.weak] == ["sha1"]


def test_nonces_are_long_enough_for_each_prf() -> None:
    """RFC 7296, 2.10: half its key at least; they are sent before one is chosen."""
    assert all(one.key_size <= 2 * NONCE_SIZE for one in PRFS.values())
    assert NONCE_SIZE >= 16
