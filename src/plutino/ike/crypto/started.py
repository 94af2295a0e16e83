"""A key exchange that was begun: our public value, and how to finish with the peer's."""

from abc import ABC, abstractmethod
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


class DiffieHellman(ABC):
    """What the symmetric methods share: to respond is to start and to finish at once."""

    __slots__ = ()

    @abstractmethod
    def start(self, random: Random) -> Started:
        """Begins one, with a key of its own."""

    def respond(self, peer: bytes, random: Random) -> tuple[bytes, bytes]:
        """Our value and the secret; ValueError if the peer's value is not acceptable."""
        started = self.start(random)
        return started.public, started.finish(peer)
