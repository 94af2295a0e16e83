"""SPIs of our own, for IKE SAs and CHILD_SAs, that no other SA has or has had lately."""

from collections.abc import Callable, Container

from plutino.ike.message.header import NO_SPI
from plutino.model.numbers import SPI_RESERVED

_REMEMBERED = 100_000


class Spis:
    """``random`` gives unpredictable bytes; ``in_use`` are the SPIs of the IKE SAs there are."""

    def __init__(self, random: Callable[[int], bytes], in_use: Container[bytes]) -> None:
        self._random = random
        self._in_use = in_use
        self._children: dict[bytes, None] = {}

    def new_ike(self) -> bytes:
        """8 bytes."""
        while True:
            spi = self._random(8)
            if spi != NO_SPI and spi not in self._in_use:
                return spi

    def new_child(self) -> bytes:
        """4 bytes; of those that were given, the live ones never, unless there are too many."""
        while True:
            spi = self._random(4)
            if spi not in self._children and int.from_bytes(spi, "big") > SPI_RESERVED:
                self.note_child(spi)
                return spi

    def note_child(self, spi: bytes) -> None:
        """It is taken."""
        self._children[spi] = None
        if len(self._children) > _REMEMBERED:
            del self._children[next(iter(self._children))]
