"""A key exchange that was begun: our public value, and how to finish with the peer's."""

from collections.abc import Callable
from dataclasses import dataclass, field

Random = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Started:
    """``complete`` gives the shared secret; ValueError if the peer's value is not acceptable."""

    public: bytes
    complete: Callable[[bytes], bytes] = field(repr=False)

    def finish(self, peer: bytes) -> bytes:
        """The shared secret."""
        return self.complete(peer)
