"""Putting the fragments of a message together (RFC 7383, 2.6)."""

from dataclasses import dataclass, field
from typing import Final

from plutino.ike.message.protection import Opened

MOST_OCTETS: Final = 1 << 17
"""More than any message of ours or of an honest peer; who has not proved anything sends them."""


@dataclass(slots=True)
class Reassembly:
    """Fragments of one message, all authentic; bounded by their number and their octets.

    A fragment of a larger total starts anew: the sender has found a smaller path MTU. One of a
    smaller total is old. A message that came in one piece is whole, whatever came before.
    """

    total: int = 0
    pieces: dict[int, Opened] = field(default_factory=dict)

    def add(self, piece: Opened) -> Opened | None:
        """The whole chain, once all pieces are there."""
        if piece.total == 1:
            return piece
        if piece.total < self.total:
            return None
        if piece.total > self.total:
            self.total = piece.total
            self.pieces.clear()
        self.pieces.setdefault(piece.number, piece)
        if sum(len(one.chain) for one in self.pieces.values()) > MOST_OCTETS:
            self.pieces.clear()
            return None
        if len(self.pieces) < self.total:
            return None
        chain = b"".join(self.pieces[number].chain for number in range(1, self.total + 1))
        return Opened(self.pieces[1].first_payload, chain)
