"""Signatures in AUTH: RFC 7427 with SHA-2, and the classic ECDSA methods of RFC 4754.

Data of method 14 are an AlgorithmIdentifier behind its length, and the signature. SHA-1 is not
taken: RFC 8247 forbids it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from plutino.ike.errors import AuthenticationFailedError
from plutino.model.private_key import SMALLEST_RSA, PrivateKey, PublicKey

DIGITAL_SIGNATURE: Final = 14
_IDENTITY_HASH: Final = 5
_CLASSIC_ECDSA: Final = {9: 256, 10: 384, 11: 521}
"""AUTH method to the size of the curve (RFC 4754, 7)."""


@dataclass(frozen=True, slots=True)
class _Hash:
    """A hash of SIGNATURE_HASH_ALGORITHMS by its number, with the OIDs that go with it (DER)."""

    number: int
    algorithm: hashes.HashAlgorithm
    oid: bytes
    rsa_oid: bytes
    ecdsa_oid: bytes
    curve_bits: int


_RSA: Final = bytes.fromhex("2a864886f70d0101")
_ECDSA: Final = bytes.fromhex("2a8648ce3d0403")
_NIST_HASH: Final = bytes.fromhex("6086480165030402")
_HASHES: Final = (
    _Hash(2, hashes.SHA256(), _NIST_HASH + b"\1", _RSA + b"\x0b", _ECDSA + b"\2", 256),
    _Hash(3, hashes.SHA384(), _NIST_HASH + b"\2", _RSA + b"\x0c", _ECDSA + b"\3", 384),
    _Hash(4, hashes.SHA512(), _NIST_HASH + b"\3", _RSA + b"\x0d", _ECDSA + b"\4", 521),
)
_PSS: Final = _RSA + b"\x0a"
_MGF1: Final = _RSA + b"\x08"


def _der(tag: int, body: bytes) -> bytes:
    assert len(body) < 128
    return bytes((tag, len(body))) + body


def _identifier(oid: bytes, parameters: bytes = b"") -> bytes:
    return _der(0x30, _der(6, oid) + parameters)


_NULL: Final = bytes((5, 0))
_ED25519: Final = _identifier(bytes.fromhex("2b6570"))
_ED448: Final = _identifier(bytes.fromhex("2b6571"))


def _pss_identifier(one: _Hash) -> bytes:
    """RSASSA-PSS-params with MGF1 and a salt as long as the hash (RFC 7427, A.4)."""
    own = _identifier(one.oid, _NULL)
    mask = _identifier(_MGF1, own)
    salt = _der(2, bytes((one.algorithm.digest_size,)))
    parameters = _der(0x30, _der(0xA0, own) + _der(0xA1, mask) + _der(0xA2, salt))
    return _identifier(_PSS, parameters)


_SIGNERS: Final[dict[bytes, type]] = {
    _ED25519: ed25519.Ed25519PublicKey,
    _ED448: ed448.Ed448PublicKey,
    **{_identifier(one.ecdsa_oid): ec.EllipticCurvePublicKey for one in _HASHES},
    **{_identifier(one.rsa_oid, _NULL): rsa.RSAPublicKey for one in _HASHES},
    **{_pss_identifier(one): rsa.RSAPublicKey for one in _HASHES},
}
"""Whose signatures may be of an AlgorithmIdentifier."""


def sign(key: PrivateKey, octets: bytes, peer_hashes: frozenset[int] | None) -> tuple[int, bytes]:
    """AUTH method and data; RSA signs by RSASSA-PSS.

    AuthenticationFailedError if the peer understands nothing that this key can do.
    """
    if isinstance(key, ec.EllipticCurvePrivateKey) and peer_hashes is None:
        return _sign_classic(key, octets)
    known = peer_hashes or frozenset()
    if isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey):
        if _IDENTITY_HASH not in known:
            raise AuthenticationFailedError("the peer does not know Ed25519 and Ed448")
        identifier = _ED25519 if isinstance(key, ed25519.Ed25519PrivateKey) else _ED448
        return DIGITAL_SIGNATURE, _data(identifier, key.sign(octets))
    usable = [one for one in _HASHES if one.number in known]
    if not usable:
        raise AuthenticationFailedError("the peer knows no signature with SHA-2 (RFC 7427)")
    if isinstance(key, ec.EllipticCurvePrivateKey):
        fitting = [one for one in usable if one.curve_bits == key.curve.key_size] or usable
        signature = key.sign(octets, ec.ECDSA(fitting[0].algorithm))
        return DIGITAL_SIGNATURE, _data(_identifier(fitting[0].ecdsa_oid), signature)
    one = usable[0]
    return DIGITAL_SIGNATURE, _data(
        _pss_identifier(one), key.sign(octets, _pss(one), one.algorithm)
    )


def kind_of(key: PublicKey, auth: tuple[int, bytes]) -> tuple[str, int] | None:
    """Kind and bits of a key, if AUTH may be its signature: only ``verify`` tells."""
    method, data = auth
    bits = key.key_size if isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey) else 0
    if method == DIGITAL_SIGNATURE:
        signers = _SIGNERS.get(_algorithm(data)[0])
        is_one = signers is not None and isinstance(key, signers)
    else:
        is_one = isinstance(key, ec.EllipticCurvePublicKey) and _CLASSIC_ECDSA.get(method) == bits
    return (type(key).__name__, bits) if is_one else None


def verify(key: PublicKey, auth: tuple[int, bytes], octets: bytes) -> None:
    """AuthenticationFailedError unless the signature is the key's, by an algorithm we allow."""
    method, data = auth
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < SMALLEST_RSA:
        raise AuthenticationFailedError(f"the peer's RSA key has {key.key_size} bits, too few")
    try:
        if method == DIGITAL_SIGNATURE:
            _verify_digital(key, data, octets)
        elif method in _CLASSIC_ECDSA and isinstance(key, ec.EllipticCurvePublicKey):
            _verify_classic(key, _CLASSIC_ECDSA[method], data, octets)
        else:
            raise AuthenticationFailedError(f"AUTH method {method} with such a key")
    except (InvalidSignature, ValueError) as error:
        raise AuthenticationFailedError("the signature is wrong") from error


def _verify_digital(key: PublicKey, data: bytes, octets: bytes) -> None:
    identifier, signature = _algorithm(data)
    check = _checks(key).get(identifier)
    if check is None:
        raise AuthenticationFailedError(f"signature algorithm {identifier.hex()}")
    check(signature, octets)


def _algorithm(data: bytes) -> tuple[bytes, bytes]:
    """AlgorithmIdentifier and signature (RFC 7427, 3)."""
    length = data[0] if data else 0
    return data[1 : 1 + length], data[1 + length :]


def _checks(key: PublicKey) -> dict[bytes, Callable[[bytes, bytes], None]]:
    """What may verify with a key, by AlgorithmIdentifier."""
    if isinstance(key, ed25519.Ed25519PublicKey):
        return {_ED25519: key.verify}
    if isinstance(key, ed448.Ed448PublicKey):
        return {_ED448: key.verify}
    checks: dict[bytes, Callable[[bytes, bytes], None]] = {}
    for one in _HASHES:
        if isinstance(key, ec.EllipticCurvePublicKey):
            checks[_identifier(one.ecdsa_oid)] = _ecdsa_check(key, one)
        else:
            checks[_identifier(one.rsa_oid, _NULL)] = _rsa_check(key, one, padding.PKCS1v15())
            checks[_pss_identifier(one)] = _rsa_check(key, one, _pss(one))
    return checks


def _ecdsa_check(key: ec.EllipticCurvePublicKey, one: _Hash) -> Callable[[bytes, bytes], None]:
    return lambda signature, octets: key.verify(signature, octets, ec.ECDSA(one.algorithm))


def _rsa_check(
    key: rsa.RSAPublicKey, one: _Hash, how: padding.PSS | padding.PKCS1v15
) -> Callable[[bytes, bytes], None]:
    return lambda signature, octets: key.verify(signature, octets, how, one.algorithm)


def _pss(one: _Hash) -> padding.PSS:
    return padding.PSS(padding.MGF1(one.algorithm), one.algorithm.digest_size)


def _data(identifier: bytes, signature: bytes) -> bytes:
    return bytes((len(identifier),)) + identifier + signature


def _sign_classic(key: ec.EllipticCurvePrivateKey, octets: bytes) -> tuple[int, bytes]:
    """r and s, each as long as the curve (RFC 4754, 7)."""
    for method, bits in _CLASSIC_ECDSA.items():
        if key.curve.key_size == bits:
            algorithm = next(one.algorithm for one in _HASHES if one.curve_bits == bits)
            r, s = decode_dss_signature(key.sign(octets, ec.ECDSA(algorithm)))
            size = (bits + 7) // 8
            return method, r.to_bytes(size, "big") + s.to_bytes(size, "big")
    raise AuthenticationFailedError("the peer knows no signature with such a curve")


def _verify_classic(key: ec.EllipticCurvePublicKey, bits: int, data: bytes, octets: bytes) -> None:
    size = (bits + 7) // 8
    if key.curve.key_size != bits or len(data) != 2 * size:
        raise AuthenticationFailedError("the signature is of another curve")
    r, s = int.from_bytes(data[:size], "big"), int.from_bytes(data[size:], "big")
    algorithm = next(one.algorithm for one in _HASHES if one.curve_bits == bits)
    key.verify(encode_dss_signature(r, s), octets, ec.ECDSA(algorithm))
