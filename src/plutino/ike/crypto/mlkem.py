"""ML-KEM as a key exchange (FIPS 203; draft-ietf-ipsecme-ikev2-mlkem).

The initiator sends an encapsulation key, the responder a ciphertext. The library makes the keys.
"""

from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric import mlkem

from plutino.ike.crypto.started import Random, Started


@dataclass(frozen=True, slots=True)
class MlKem:
    """One parameter set."""

    name: str
    ike_id: int
    private: type[mlkem.MLKEM768PrivateKey] | type[mlkem.MLKEM1024PrivateKey]
    public: type[mlkem.MLKEM768PublicKey] | type[mlkem.MLKEM1024PublicKey]
    weak: bool = False

    def start(self, random: Random) -> Started:
        """Begins one with a new encapsulation key."""
        del random
        key = self.private.generate()
        return Started(key.public_key().public_bytes_raw(), key.decapsulate)

    def respond(self, peer: bytes, random: Random) -> tuple[bytes, bytes]:
        """Ciphertext and secret; ValueError if the encapsulation key is not acceptable."""
        del random
        secret, ciphertext = self.public.from_public_bytes(peer).encapsulate()
        return ciphertext, secret


ML_KEMS: Final = (
    MlKem("mlkem768", 36, mlkem.MLKEM768PrivateKey, mlkem.MLKEM768PublicKey),
    MlKem("mlkem1024", 37, mlkem.MLKEM1024PrivateKey, mlkem.MLKEM1024PublicKey),
)
