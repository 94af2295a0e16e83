"""What ``engine/python`` gives: primitives in constant time that let go of the interpreter's lock.

All numbers are big-endian. Every refusal is a ValueError.
"""

def modp_power(modulus: bytes, base: bytes, exponent: bytes, /) -> bytes:
    """``base`` to the power of ``exponent``, of the modulus' length.

    Constant time in the exponent's octets. ValueError if the base has another length than the
    modulus or is 0, 1, p - 1 or more (RFC 6989, 2.1).
    """

def mlkem_key(parameter_set: int, seed: bytes, /) -> bytes:
    """The encapsulation key of a seed of 64 bytes, d and z (FIPS 203, 6.1).

    ``parameter_set`` is 512, 768 or 1024.
    """

def mlkem_encapsulate(
    parameter_set: int, encapsulation_key: bytes, seed: bytes, /
) -> tuple[bytes, bytes]:
    """Ciphertext and secret, from a seed of 32 bytes.

    ValueError if the encapsulation key has another length or fails the modulus check (FIPS 203,
    7.2).
    """

def mlkem_decapsulate(parameter_set: int, seed: bytes, ciphertext: bytes, /) -> bytes:
    """The secret of a ciphertext, by the key's seed.

    ValueError if the ciphertext has another length; a forged one gives another secret (FIPS 203,
    7.3).
    """

def aes_xcbc(key: bytes, data: bytes, /) -> bytes:
    """AES-XCBC-MAC, all 16 bytes (RFC 3566, 4). ValueError if the key has not 16 bytes."""
