"""One table of the algorithms that an SA can use, with every name and size they go by."""

from dataclasses import dataclass

from plutino.model.secret import Secret


@dataclass(frozen=True, slots=True)
class AeadAlgorithm:
    """A combined-mode algorithm. Key, salt, IV, block in bytes; ICV in bytes; ``ike_id`` of IANA.

    ``kernel_name`` is what goes into ``struct xfrm_algo_aead.alg_name``.
    """

    name: str
    kernel_name: str
    ike_id: int
    key_size: int
    salt_size: int
    iv_size: int
    icv_size: int
    block_size: int

    @property
    def keymat_size(self) -> int:
        """Bytes of key and salt together, as XFRM and IKEv2 take them (RFC 4106, 8.1)."""
        return self.key_size + self.salt_size


def _gcm16(bits: int) -> AeadAlgorithm:
    return AeadAlgorithm(
        name=f"aes{bits}gcm16",
        kernel_name="rfc4106(gcm(aes))",
        ike_id=20,
        key_size=bits // 8,
        salt_size=4,
        iv_size=8,
        icv_size=16,
        block_size=4,
    )


AEAD_ALGORITHMS = {algorithm.name: algorithm for algorithm in map(_gcm16, (128, 192, 256))}
"""By plutino's own name, which is also strongSwan's (``aes256gcm16``)."""

DEFAULT_ALGORITHM = "aes256gcm16"


@dataclass(frozen=True, slots=True)
class AeadKey:
    """An AEAD algorithm by its kernel name with its keying material: the key, then the salt."""

    kernel_name: str
    keymat: Secret
    icv_bits: int
