"""Key material that cannot be printed by accident."""

import hmac
from typing import Final


class Secret:
    """Octets that never appear in logs, errors, ``repr`` or JSON.

    ``reveal()`` is the only way to the octets, so every use of a key can be found by its name.
    Equality takes constant time.
    """

    __slots__ = ("_octets",)

    def __init__(self, octets: bytes) -> None:
        self._octets: Final = bytes(octets)

    def reveal(self) -> bytes:
        """The octets themselves, for the wire to the data plane and for nothing else."""
        return self._octets

    def split(self, at: int) -> tuple["Secret", "Secret"]:
        """The first ``at`` octets, and the rest."""
        return Secret(self._octets[:at]), Secret(self._octets[at:])

    def __len__(self) -> int:
        return len(self._octets)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._octets, other._octets)

    def __hash__(self) -> int:
        return hash(("Secret", len(self._octets)))

    def __repr__(self) -> str:
        return f"<secret {len(self._octets)} B>"

    __str__ = __repr__

    def __reduce__(self) -> tuple[type["Secret"], tuple[bytes]]:
        raise TypeError("a secret is not pickled")
