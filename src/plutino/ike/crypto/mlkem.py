"""ML-KEM as a key exchange (FIPS 203; draft-ietf-ipsecme-ikev2-mlkem).

The initiator sends an encapsulation key, the responder a ciphertext. Both are made from seeds; the
initiator keeps the seed alone.
"""

from dataclasses import dataclass
from typing import Final

from plutino._native import mlkem_decapsulate, mlkem_encapsulate, mlkem_key
from plutino.ike.crypto.started import Random, Started

_KEY_SEED: Final = 64
_ENCAPSULATION_SEED: Final = 32


@dataclass(frozen=True, slots=True)
class MlKem:
    """One parameter set: 512, 768 or 1024."""

    name: str
    ike_id: int
    parameter_set: int
    weak: bool = False

    def start(self, random: Random) -> Started:
        """Begins one with a new encapsulation key."""
        seed = random(_KEY_SEED)

        def complete(peer: bytes) -> bytes:
            return mlkem_decapsulate(self.parameter_set, seed, peer)

        return Started(mlkem_key(self.parameter_set, seed), complete)

    def respond(self, peer: bytes, random: Random) -> tuple[bytes, bytes]:
        """Ciphertext and secret; ValueError if the encapsulation key is not acceptable."""
        return mlkem_encapsulate(self.parameter_set, peer, random(_ENCAPSULATION_SEED))


ML_KEMS: Final = (
    MlKem("mlkem512", 35, 512),
    MlKem("mlkem768", 36, 768),
    MlKem("mlkem1024", 37, 1024),
)
