"""Keying material of IKE: NIST's vectors, and the formulas of RFC 9370 and RFC 8784."""

import hmac

from plutino.ike.crypto.keymat import (
    Exchanged,
    IkeKeys,
    KeySizes,
    SharedSecrets,
    child_keymat,
    first_keys,
    intermediate_keys,
    rekeyed_keys,
)
from plutino.ike.crypto.prf import PRFS

SHA256 = PRFS[5]

# NIST's sample of the IKEv2 KDF of SP 800-135 with SHA-256, as OpenSSL 4.1 tests itself with it
# (test/recipes/30-test_evp_data/evpkdf_ikev2.txt), read 2026-11.
EXCHANGED = Exchanged(
    bytes.fromhex("3651FEF5C9C35E93"),
    bytes.fromhex("C09A8B90A3F04D59"),
    bytes.fromhex("8E5C3AE507221684"),
    bytes.fromhex("B1F201BB155C3ACD"),
)
SECRET = bytes.fromhex(
    "D084A30166A50FB7325C3960874A839449EF9741C2F4F947D0201DD8C1269273"
    "D79509F37E3CA3EB4FA2FE2A28254E289CD3F34DAD4EB4DF1A07685A4B8A94FA"
    "61E2491F7598B3CE65547FF133B3F63D1AC4175EAA695033F3CEDB026A6873A3"
    "6455172A8540B8A5D23A0143BED0390EE49B168269D75FFFEE9FB62BE965993C"
)
SKEYSEED = bytes.fromhex("EFAA7AB0EAA85A3D0BE2100CD4B6FE00FF5025A9EAFDDB3EF518E9F0D3FE60E6")
DKM = bytes.fromhex(
    "462B9DD525D4FD71169174272779E704BAF62C6231779AE9EFE8C58B21916B42"
    "010164AF2111EBD762F6916CA9A6F0EE05C8B320E4EE27705521DE2589ADEA18"
    "78F1A551738AF7C88DC4F0BB0C096A3F7D1F1A670FC79F49F678D60D665BB371"
    "0C8657F03BA9F62B9A818D7A228968C506E237AE9502AA6DB395C61EA6A3E795"
    "04F86B7368BFB5423DF79E48809BBCCD49FD826D024F63D7C2A5566400A12E73"
    "6AA034510428F5EA008FE2FC16886FA388274EA6C2B4FCFC6141BF04F8207EF8"
    "AFC224EA1059CB220DC0B23AC0E4CCDA495A4E131B1D56E223ABA5A48E8ED1F5"
)
SK_D = DKM[:32]
CHILD = bytes.fromhex(
    "23647677E7D403FA1E3006F19840AEE18AD9FECC4215814C4131BDEBA98433D8"
    "B0E31BFBBDDF822ABCCE5E06486AA388022B75E27E1E68AA5983028B65282C73"
)
NEW_SECRET = bytes.fromhex(
    "52F00AB174C25D5B7139AE5FF4E8E9EDDEE5992D2E36ADF8A559FFD90DAB1442"
    "E4FBE429D320C0F33552A17D1557FA41EA70E8FB916C4FA27ED52B5F8EBD8461"
    "AFA78F1159159A64055AC5F6319E29C28EAE58CBC6847770F32C3FED1D047504"
    "84F854790F95E9EC01BC5BC461F24966462E359511329305038E94DEB6DD42C2"
)
CHILD_DH = bytes.fromhex(
    "6A919387A5FA2835FE8A8237E4A14845BD2B9930DB87EFF7ADF268F621860049"
    "02DBA9AA942D0259A0EDC4120B932A503865B57BA8FB88117EF5DF7B26799CD8"
)
REKEY_SKEYSEED = bytes.fromhex("90722C42BD849E9B72D240FC254174270FA8295DE6F0338DAFC303A9EC104F12")

SIZES = KeySizes(encryption=32, integrity=32)
"""The keys of AES-256-CBC and SHA-256 take DKM whole: seven of 32 bytes."""


def sha256(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "sha256")


def plus(key: bytes, seed: bytes, length: int) -> bytes:
    stream, block = b"", b""
    for count in range(1, -(-length // 32) + 1):
        block = sha256(key, block + seed + bytes([count]))
        stream += block
    return stream[:length]


def joined(keys: IkeKeys) -> bytes:
    return b"".join((keys.d, keys.ai, keys.ar, keys.ei, keys.er, keys.pi, keys.pr))


def spread(skeyseed: bytes, exchanged: Exchanged = EXCHANGED) -> bytes:
    return plus(skeyseed, exchanged.seed, 224)


def test_first_keys() -> None:
    keys = first_keys(SHA256, SIZES, SECRET, EXCHANGED)
    assert joined(keys) == DKM
    assert spread(SKEYSEED) == DKM


def test_keys_are_cut_in_the_order_of_the_rfc() -> None:
    keys = first_keys(SHA256, KeySizes(36, 0), SECRET, EXCHANGED)
    assert keys.d == DKM[:32]
    assert keys.ai == keys.ar == b""
    assert (keys.ei, keys.er) == (DKM[32:68], DKM[68:104])
    assert (keys.pi, keys.pr) == (DKM[104:136], DKM[136:168])


def test_child_keymat() -> None:
    nonces = EXCHANGED.nonces
    assert child_keymat(SHA256, SK_D, SharedSecrets(), nonces, 64) == CHILD
    assert child_keymat(SHA256, SK_D, SharedSecrets(NEW_SECRET), nonces, 64) == CHILD_DH


def test_rekeyed_keys() -> None:
    old = first_keys(SHA256, SIZES, SECRET, EXCHANGED)
    new = rekeyed_keys(SHA256, SIZES, (SHA256, old), SharedSecrets(NEW_SECRET), EXCHANGED)
    assert joined(new) == spread(REKEY_SKEYSEED)


def test_rekeyed_keys_take_skeyseed_from_the_old_prf() -> None:
    """RFC 7296, 2.18."""
    old = first_keys(SHA256, SIZES, SECRET, EXCHANGED)
    shared = SharedSecrets(NEW_SECRET)
    new = rekeyed_keys(PRFS[7], KeySizes(0, 0), (SHA256, old), shared, EXCHANGED)
    assert joined(new) == PRFS[7].plus(REKEY_SKEYSEED, EXCHANGED.seed, 3 * 64)


def test_keys_after_further_key_exchanges() -> None:
    """RFC 9370, 2.2.2: SKEYSEED(n) = prf(SK_d(n-1), SK(n) | Ni | Nr)."""
    keys = first_keys(SHA256, SIZES, SECRET, EXCHANGED)
    for secret in (b"first", b"second"):
        skeyseed = sha256(keys.d, secret + EXCHANGED.nonces)
        keys = intermediate_keys(SHA256, SIZES, keys, secret, EXCHANGED)
        assert joined(keys) == spread(skeyseed)


def test_keys_of_a_series_in_create_child_sa() -> None:
    """RFC 9370, 2.2.4: SK(0) | Ni | Nr | SK(1) | SK(2), for an IKE SA and for a CHILD_SA."""
    secrets = SharedSecrets(b"zeroth", b"first" + b"second")
    hashed = b"zeroth" + EXCHANGED.nonces + b"firstsecond"
    old = first_keys(SHA256, SIZES, SECRET, EXCHANGED)
    new = rekeyed_keys(SHA256, SIZES, (SHA256, old), secrets, EXCHANGED)
    assert joined(new) == spread(sha256(old.d, hashed))
    keymat = child_keymat(SHA256, SK_D, secrets, EXCHANGED.nonces, 64)
    first = sha256(SK_D, hashed + b"\1")
    assert keymat == first + sha256(SK_D, first + hashed + b"\2")


def test_a_fixed_key_prf_takes_half_a_key_of_each_nonce() -> None:
    """RFC 7296, 2.14: the first 64 bits of each for AES-XCBC and AES-CMAC, not all of them."""
    exchanged = Exchanged(bytes(range(32)), bytes(range(32, 64)), bytes(8), bytes(8))
    for number in (4, 8):
        prf = PRFS[number]
        keys = first_keys(prf, KeySizes(0, 0), SECRET, exchanged)
        skeyseed = prf.compute(bytes(range(8)) + bytes(range(32, 40)), SECRET)
        assert joined(keys) == prf.plus(skeyseed, exchanged.seed, 3 * 16)


def test_a_ppk_changes_three_keys() -> None:
    """RFC 8784, 3: SK_d = prf+(PPK, SK_d'), SK_pi and SK_pr alike."""
    old = first_keys(SHA256, SIZES, SECRET, EXCHANGED)
    new = old.with_ppk(SHA256, b"post-quantum")
    for name in ("d", "pi", "pr"):
        assert getattr(new, name) == sha256(b"post-quantum", getattr(old, name) + b"\x01")
    for name in ("ai", "ar", "ei", "er"):
        assert getattr(new, name) == getattr(old, name)


def test_keys_are_not_printed() -> None:
    assert repr(first_keys(SHA256, SIZES, SECRET, EXCHANGED)) == "IkeKeys()"
