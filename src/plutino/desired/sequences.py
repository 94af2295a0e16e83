"""Sequence numbers of SAs with static keys, beyond the life of the engine that counts them.

A number must never come twice under one key, nor be accepted twice (RFC 4303, 3.3.3 and 3.4.3). So
numbers are reserved ahead in the state directory; a new engine starts after the reservation.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from plutino.model.policy import IpAddress
from plutino.model.sa import ReplayState, SaDirection, SecurityAssociation

RESERVATION = 1 << 24
"""Numbers reserved at a time: at 800,000 packets per second they last 20 seconds."""

SaIdentity = tuple[IpAddress, int, int]
"""Destination, SPI, protocol."""


@dataclass(frozen=True, slots=True)
class SavedSequence:
    """What is on disk for one SA: numbers up to ``oseq`` are used up, up to ``seq`` were seen.

    Keys that are ``by_ike`` serve one SA alone, and its numbers mean nothing after it.
    """

    oseq: int = 0
    seq: int = 0
    by_ike: bool = False


Sequences = Mapping[SaIdentity, SavedSequence]


def starting_replay(saved: SavedSequence, direction: SaDirection, window: int) -> ReplayState:
    """The state to install an SA with: it sends and accepts only what is new."""
    if direction is SaDirection.OUT:
        return ReplayState(oseq=saved.oseq)
    seen = (1 << window) - 1 if saved.seq else 0
    return ReplayState(seq=saved.seq, window=window, bitmap=seen)


def without_gone(saved: Sequences, kept: Collection[SaIdentity]) -> Sequences:
    """Without the SAs of IKE that are none of ``kept``: their keys are gone for good."""
    return {name: one for name, one in saved.items() if not one.by_ike or name in kept}


def reserve(
    saved: Sequences,
    running: Iterable[SecurityAssociation],
    by_ike: Collection[int] = (),
) -> Sequences:
    """What must be on disk while ``running`` is in force; ``by_ike`` are reqids."""
    return {**saved, **reservations(saved, running, by_ike)}


def reservations(
    saved: Sequences,
    running: Iterable[SecurityAssociation],
    by_ike: Collection[int] = (),
) -> Sequences:
    """What of it is not ``saved``; ``by_ike`` are reqids.

    A reservation is renewed when half of it is used, so that disk is touched rarely.
    """
    found: dict[SaIdentity, SavedSequence] = {}
    for sa in running:
        known = saved.get(sa.identity)
        old = known or SavedSequence()
        new = old
        if sa.direction is SaDirection.OUT:
            if sa.replay.oseq + RESERVATION // 2 > old.oseq:
                new = replace(old, oseq=sa.replay.oseq + RESERVATION)
        elif sa.replay.seq > old.seq:
            new = replace(old, seq=sa.replay.seq)
        if sa.reqid in by_ike and not new.by_ike:
            new = replace(new, by_ike=True)
        if known is None or new is not old:
            found[sa.identity] = new
    return found
