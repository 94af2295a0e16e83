"""AES-XCBC-MAC (RFC 3566) by another library's AES, for judges that do not know it."""

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

_BLOCK = 16


def _exclusive_or(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


class AesXcbc:
    """Called as scapy calls a MAC of pyca/cryptography: key, digest, backend."""

    def __init__(self, key: bytes, _digest: object = None, _backend: object = None) -> None:
        base = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
        self._one, self._two, self._three = (base.update(bytes([n]) * _BLOCK) for n in (1, 2, 3))
        self._octets = bytearray()

    def update(self, octets: bytes) -> None:
        """More of the message."""
        self._octets += octets

    def finalize(self) -> bytes:
        """All 16 octets; ESP sends the first 12."""
        last = (len(self._octets) - 1) // _BLOCK * _BLOCK if self._octets else 0
        tail = bytes(self._octets[last:])
        if len(tail) == _BLOCK:
            tail = _exclusive_or(tail, self._two)
        else:
            tail = _exclusive_or((tail + b"\x80").ljust(_BLOCK, b"\0"), self._three)
        chain = Cipher(algorithms.AES(self._one), modes.CBC(bytes(_BLOCK))).encryptor()
        return chain.update(bytes(self._octets[:last]) + tail)[-_BLOCK:]
