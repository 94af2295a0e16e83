"""Key exchange methods: published vectors, second implementations, and peers that cheat."""

import warnings
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import dh, mlkem
from hypothesis import given, settings
from hypothesis import strategies as st

from plutino.ike.crypto.finite_field import FINITE_FIELDS, FiniteField
from plutino.ike.crypto.key_exchange import KEY_EXCHANGES, EllipticCurve, KeyExchangeMethod
from plutino.model.proposal_words import KEY_EXCHANGES as WORDS

METHODS = list(KEY_EXCHANGES.values())
CURVES = [one for one in METHODS if isinstance(one, EllipticCurve)]


def name(method: KeyExchangeMethod) -> str:
    return method.name


def fixed(octets: bytes) -> Callable[[int], bytes]:
    """A source of randomness that gives these, padded in front where more is asked for."""
    return lambda size: octets.rjust(size, b"\0")[-size:]


def counted(size: int) -> bytes:
    return bytes((7 * number + 1) % 256 for number in range(size))


def scalar_of(private: str) -> Callable[[int], bytes]:
    """Curves take a private key as the surplus over 1, modulo the order less 1."""
    less_one = int(private.replace(" ", ""), 16) - 1
    return lambda size: less_one.to_bytes(size, "big")


RFC_5903 = [
    # 8.1, 8.2 and 8.3: i, gix and giy, grx and gry, girx
    (
        19,
        "C88F01F5 10D9AC3F 70A292DA A2316DE5 44E9AAB8 AFE84049 C62A9C57 862D1433",
        "DAD0B653 94221CF9 B051E1FE CA5787D0 98DFE637 FC90B9EF 945D0C37 72581180"
        "5271A046 1CDB8252 D61F1C45 6FA3E59A B1F45B33 ACCF5F58 389E0577 B8990BB3",
        "D12DFB52 89C8D4F8 1208B702 70398C34 2296970A 0BCCB74C 736FC755 4494BF63"
        "56FBF3CA 366CC23E 8157854C 13C58D6A AC23F046 ADA30F83 53E74F33 039872AB",
        "D6840F6B 42F6EDAF D13116E0 E1256520 2FEF8E9E CE7DCE03 812464D0 4B9442DE",
    ),
    (
        20,
        "099F3C70 34D4A2C6 99884D73 A375A67F 7624EF7C 6B3C0F16 0647B674 14DCE655"
        "E35B5380 41E649EE 3FAEF896 783AB194",
        "667842D7 D180AC2C DE6F74F3 7551F557 55C7645C 20EF73E3 1634FE72 B4C55EE6"
        "DE3AC808 ACB4BDB4 C88732AE E95F41AA"
        "9482ED1F C0EEB9CA FC498462 5CCFC23F 65032149 E0E144AD A0241815 35A0F38E"
        "EB9FCFF3 C2C947DA E69B4C63 4573A81C",
        "E558DBEF 53EECDE3 D3FCCFC1 AEA08A89 A987475D 12FD950D 83CFA417 32BC509D"
        "0D1AC43A 0336DEF9 6FDA41D0 774A3571"
        "DCFBEC7A ACF31964 72169E83 8430367F 66EEBE3C 6E70C416 DD5F0C68 759DD1FF"
        "F83FA401 42209DFF 5EAAD96D B9E6386C",
        "11187331 C279962D 93D60424 3FD592CB 9D0A926F 422E4718 7521287E 7156C5C4"
        "D6031355 69B9E9D0 9CF5D4A2 70F59746",
    ),
    (
        21,
        "0037ADE9 319A89F4 DABDB3EF 411AACCC A5123C61 ACAB57B5 393DCE47 608172A0"
        "95AA85A3 0FE1C295 2C6771D9 37BA9777 F5957B26 39BAB072 462F68C2 7A57382D 4A52",
        "0015417E 84DBF28C 0AD3C278 713349DC 7DF153C8 97A1891B D98BAB43 57C9ECBE"
        "E1E3BF42 E00B8E38 0AEAE57C 2D107564 94188594 2AF5A7F4 601723C4 195D176C ED3E"
        "017CAE20 B6641D2E EB695786 D8C94614 6239D099 E18E1D5A 514C739D 7CB4A10A"
        "D8A78801 5AC405D7 799DC75E 7B7D5B6C F2261A6A 7F150743 8BF01BEB 6CA3926F 9582",
        "00D0B397 5AC4B799 F5BEA16D 5E13E9AF 971D5E9B 984C9F39 728B5E57 39735A21"
        "9B97C356 436ADC6E 95BB0352 F6BE64A6 C2912D4E F2D0433C ED2B6171 640012D9 460F"
        "015C6822 6383956E 3BD066E7 97B623C2 7CE0EAC2 F551A10C 2C724D98 52077B87"
        "220B6536 C5C408A1 D2AEBB8E 86D678AE 49CB5709 1F473229 6579AB44 FCD17F0F C56A",
        "01144C7D 79AE6956 BC8EDB8E 7C787C45 21CB086F A64407F9 7894E5E6 B2D79B04"
        "D1427E73 CA4BAA24 0A347868 59810C06 B3C715A3 A8CC3151 F2BEE417 996D19F3 DDEA",
    ),
]
RFC_7748 = [
    # 6.1 and 6.2: a, A, B, K
    (
        31,
        "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
        "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
        "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
        "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742",
    ),
    (
        32,
        "9a8f4925d1519f5775cf46b04b5800d4ee9ee8bae8bc5565d498c28d"
        "d9c9baf574a9419744897391006382a6f127ab1d9ac2d8c0a598726b",
        "9b08f7cc31b7e3e67d22d5aea121074a273bd2b83de09c63faa73d2c"
        "22c5d9bbc836647241d953d40c5b12da88120d53177f80e532c41fa0",
        "3eb7a829b0cd20f5bcfc0b599b6feccf6da4627107bdb0d4f345b430"
        "27d8b972fc3e34fb4232a13ca706dcb57aec3dae07bdc1c67bf33609",
        "07fff4181ac6cc95ec1c16a94a0f74d12da232ce40a77552281d282b"
        "b60c0b56fd2464c335543936521c24403085d59a449a5037514a879d",
    ),
]


@pytest.mark.parametrize(("number", "private", "public", "peer", "secret"), RFC_5903)
def test_curves_of_rfc_5903(number: int, private: str, public: str, peer: str, secret: str) -> None:
    """The secret is x alone; both coordinates are on the wire."""
    started = KEY_EXCHANGES[number].start(scalar_of(private))
    assert started.public == bytes.fromhex(public)
    assert started.finish(bytes.fromhex(peer)) == bytes.fromhex(secret)


@pytest.mark.parametrize(("number", "private", "public", "peer", "secret"), RFC_7748)
def test_curves_of_rfc_7748(number: int, private: str, public: str, peer: str, secret: str) -> None:
    started = KEY_EXCHANGES[number].start(fixed(bytes.fromhex(private)))
    assert started.public == bytes.fromhex(public)
    assert started.finish(bytes.fromhex(peer)) == bytes.fromhex(secret)


@pytest.mark.parametrize("group", FINITE_FIELDS, ids=name)
def test_primes_are_those_of_the_rfcs(group: FiniteField) -> None:
    """RFC 2409, 6.2, and RFC 3526: safe primes whose ends are all ones; Fermat's test, base 2."""
    prime = int.from_bytes(group.prime, "big")
    assert prime.bit_length() == 8 * group.size == int(group.name.removeprefix("modp"))
    assert group.prime[:8] == group.prime[-8:] == b"\xff" * 8
    assert pow(2, prime - 1, prime) == 1
    assert pow(2, (prime - 1) // 2, prime) == 1, "2 makes the subgroup of prime order"
    half = (prime - 1) // 2
    assert pow(3, half - 1, half) == 1


@pytest.mark.parametrize("group", FINITE_FIELDS[:4], ids=name)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_modp_agrees_with_python(group: FiniteField, data: st.DataObject) -> None:
    prime = int.from_bytes(group.prime, "big")
    exponent = data.draw(st.binary(min_size=group.exponent_size, max_size=group.exponent_size))
    peer = data.draw(st.integers(2, prime - 2))
    power = int.from_bytes(exponent, "big")
    started = group.start(fixed(exponent))
    assert int.from_bytes(started.public, "big") == pow(2, power, prime)
    secret = started.finish(peer.to_bytes(group.size, "big"))
    assert secret == pow(peer, power, prime).to_bytes(group.size, "big")


@pytest.mark.parametrize("group", FINITE_FIELDS, ids=name)
def test_modp_agrees_with_openssl(group: FiniteField) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parameters = dh.DHParameterNumbers(int.from_bytes(group.prime, "big"), 2)
        theirs = parameters.parameters().generate_private_key()
        public = theirs.public_key().public_numbers().y.to_bytes(group.size, "big")
        ours, secret = group.respond(public, counted)
        number = dh.DHPublicNumbers(int.from_bytes(ours, "big"), parameters).public_key()
        assert theirs.exchange(number).rjust(group.size, b"\0") == secret


@pytest.mark.parametrize("group", FINITE_FIELDS, ids=name)
def test_modp_refuses_what_rfc_6989_does(group: FiniteField) -> None:
    prime = int.from_bytes(group.prime, "big")
    started = group.start(counted)
    for value in (0, 1, prime - 1, prime, prime + 1):
        with pytest.raises(ValueError, match=group.name):
            started.finish(value.to_bytes(group.size, "big"))
        with pytest.raises(ValueError, match=group.name):
            group.respond(value.to_bytes(group.size, "big"), counted)
    for size in (0, 1, group.size - 1, group.size + 1):
        with pytest.raises(ValueError, match=group.name):
            started.finish((2).to_bytes(size, "big") if size else b"")
    assert started.finish((prime - 2).to_bytes(group.size, "big"))


@pytest.mark.parametrize("method", METHODS, ids=name)
def test_both_ends_have_one_secret(method: KeyExchangeMethod) -> None:
    started = method.start(counted)
    public, secret = method.respond(started.public, lambda size: counted(size)[::-1])
    assert started.finish(public) == secret
    assert secret.hex() not in repr(started)


@pytest.mark.parametrize("method", METHODS, ids=name)
def test_all_randomness_is_asked_for(method: KeyExchangeMethod) -> None:
    """A run replays exactly; two runs do not share a key."""
    one, same = method.start(counted), method.start(counted)
    other = method.start(lambda size: counted(size)[::-1])
    assert one.public == same.public != other.public
    answers = [method.respond(one.public, counted) for _ in range(2)]
    assert answers[0] == answers[1]


@pytest.mark.parametrize("method", METHODS, ids=name)
def test_values_of_other_lengths_are_refused(method: KeyExchangeMethod) -> None:
    started = method.start(counted)
    public, _secret = method.respond(started.public, counted)
    for wrong in (b"", public[:-1], public + b"\0"):
        with pytest.raises(ValueError):  # noqa: PT011  the words are each library's
            started.finish(wrong)
    for wrong in (b"", started.public[:-1], started.public + b"\0"):
        with pytest.raises(ValueError):  # noqa: PT011
            method.respond(wrong, counted)


@pytest.mark.parametrize("method", CURVES, ids=name)
def test_points_off_the_curve_are_refused(method: EllipticCurve) -> None:
    """RFC 6989, 2.3: also (0, 0), and coordinates beyond the prime."""
    started = method.start(counted)
    size = len(started.public)
    moved = bytearray(started.public)
    moved[-1] ^= 1
    for wrong in (bytes(moved), bytes(size), b"\xff" * size):
        with pytest.raises(ValueError):  # noqa: PT011
            started.finish(wrong)


@pytest.mark.parametrize("number", [31, 32])
def test_points_of_small_order_are_refused(number: int) -> None:
    """RFC 8031, 3.2, and RFC 7748, 6: the secret would be all zeros."""
    started = KEY_EXCHANGES[number].start(counted)
    size = len(started.public)
    for value in (0, 1):
        with pytest.raises(ValueError):  # noqa: PT011
            started.finish(value.to_bytes(size, "little"))


@pytest.mark.parametrize("number", [35, 36, 37])
def test_encapsulation_keys_beyond_the_modulus_are_refused(number: int) -> None:
    """FIPS 203, 7.2: a coefficient of 3329 or more."""
    method = KEY_EXCHANGES[number]
    key = method.start(counted).public
    with pytest.raises(ValueError, match="encapsulation key"):
        method.respond(b"\xff\xff\xff" + key[3:], counted)


@pytest.mark.parametrize("number", [35, 36, 37])
def test_a_forged_ciphertext_gives_another_secret_and_no_error(number: int) -> None:
    """FIPS 203, 6.3: implicit rejection, or the difference would be an oracle."""
    method = KEY_EXCHANGES[number]
    started = method.start(counted)
    ciphertext, secret = method.respond(started.public, counted)
    forged = bytes([ciphertext[0] ^ 1]) + ciphertext[1:]
    assert len(started.finish(forged)) == 32
    assert started.finish(forged) != secret


def test_ml_kem_agrees_with_openssl() -> None:
    for number, private, public in (
        (36, mlkem.MLKEM768PrivateKey, mlkem.MLKEM768PublicKey),
        (37, mlkem.MLKEM1024PrivateKey, mlkem.MLKEM1024PublicKey),
    ):
        method = KEY_EXCHANGES[number]
        theirs = private.generate()
        ciphertext, secret = method.respond(theirs.public_key().public_bytes_raw(), counted)
        assert theirs.decapsulate(ciphertext) == secret
        ours = method.start(counted)
        secret, ciphertext = public.from_public_bytes(ours.public).encapsulate()
        assert ours.finish(ciphertext) == secret
        assert private.from_seed_bytes(counted(64)).public_key().public_bytes_raw() == ours.public


def test_names_and_numbers_are_those_of_the_configuration() -> None:
    assert {one.name: one.ike_id for one in METHODS} == WORDS


def test_weak_ones_are_the_short_modp_groups() -> None:
    """RFC 8247, 2.4."""
    assert {one.name for one in METHODS if one.weak} == {"modp1024", "modp1536"}
