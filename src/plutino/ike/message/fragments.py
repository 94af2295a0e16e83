"""Putting the fragments of a message together (RFC 7383, 2.6)."""

from dataclasses import dataclass, field

from plutino.ike.message.protection import Opened


@dataclass(slots=True)
class Reassembly:
    """Fragments of one message, all authentic; bounded by their announced number.

    A fragment of a larger total starts anew: the sender has found a smaller path MTU. One of a
    smaller total is old.
    """

    total: int = 0
    pieces: dict[int, Opened] = field(default_factory=dict)

    def add(self, piece: Opened) -> Opened | None:
        """The whole chain, once all pieces are there."""
        if piece.total < self.total:
            return None
        if piece.total > self.total:
            self.total = piece.total
            self.pieces.clear()
        self.pieces.setdefault(piece.number, piece)
        if len(self.pieces) < self.total:
            return None
        chain = b"".join(self.pieces[number].chain for number in range(1, self.total + 1))
        return Opened(self.pieces[1].first_payload, chain)
