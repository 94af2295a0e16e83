"""What a session is given from outside: randomness, wall clock, peers and SPIs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from plutino.ike.auth.ocsp import Answers
from plutino.ike.config import PeerConfig
from plutino.ike.keys import SessionKeys
from plutino.ike.path import Path
from plutino.model.policy import IpAddress


@dataclass(frozen=True, slots=True)
class Surroundings:
    """``random`` gives so many unpredictable bytes; ``date`` the wall clock, for certificates.

    ``peers_at`` lists whom a path may belong to. ``new_ike_spi`` gives 8 bytes and
    ``new_child_spi`` 4 that no other SA has. ``has_other_session`` says whether a peer has an IKE
    SA besides the one of this SPI. ``answers`` are those of OCSP responders so far. ``note_keys``
    gets the keys of each IKE SA, for debugging. ``own_addresses`` are ours that a peer may use, the
    best first, where it matters. ``initiating`` says how many IKE SAs of ours are on their way.
    """

    random: Callable[[int], bytes]
    date: Callable[[], datetime]
    peers_at: Callable[[Path], Sequence[PeerConfig]]
    new_ike_spi: Callable[[], bytes]
    new_child_spi: Callable[[], bytes]
    has_other_session: Callable[[str, bytes], bool]
    answers: Answers
    note_keys: Callable[[SessionKeys], None] | None = None
    own_addresses: Callable[[str], Sequence[IpAddress] | None] = lambda _peer: None
    initiating: Callable[[], int] = lambda: 1
