"""A CHILD_SA as IKE sees it: its states in one table with one writer (RFC 7296, 2.8 and 2.25)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from plutino.ike.config import ChildConfig
from plutino.ike.payloads.traffic_selector import TrafficSelector
from plutino.ike.proposals import Chosen
from plutino.model.policy import Mode
from plutino.model.secret import Secret


class ChildState(Enum):
    """Where a CHILD_SA stands."""

    __hash__ = object.__hash__
    INSTALLED = auto()
    REKEYING = auto()
    """Our own request to replace it waits for its response."""
    REPLACED = auto()
    """Another one has taken its place; it still receives until it is deleted."""
    DELETING = auto()
    """Our own request to delete it waits for its response."""
    STRAGGLING = auto()
    """Replaced and deleted on both sides; packets that are still on their way are taken."""
    DELETED = auto()


class ChildInput(Enum):
    """What happens to a CHILD_SA."""

    __hash__ = object.__hash__
    REKEY = auto()
    REKEY_FAILED = auto()
    REPLACE = auto()
    DELETE = auto()
    SUPERSEDED = auto()
    """Deleted on both sides, another one being in its place."""
    GONE = auto()
    """Deleted on both sides, or its IKE SA has ended, or its stragglers have had their time."""


TRANSITIONS: Final[Mapping[tuple[ChildState, ChildInput], ChildState]] = {
    (ChildState.INSTALLED, ChildInput.REKEY): ChildState.REKEYING,
    (ChildState.INSTALLED, ChildInput.REPLACE): ChildState.REPLACED,
    (ChildState.INSTALLED, ChildInput.DELETE): ChildState.DELETING,
    (ChildState.INSTALLED, ChildInput.GONE): ChildState.DELETED,
    (ChildState.REKEYING, ChildInput.REKEY_FAILED): ChildState.INSTALLED,
    (ChildState.REKEYING, ChildInput.REPLACE): ChildState.REPLACED,
    (ChildState.REKEYING, ChildInput.DELETE): ChildState.DELETING,
    (ChildState.REKEYING, ChildInput.GONE): ChildState.DELETED,
    (ChildState.REPLACED, ChildInput.DELETE): ChildState.DELETING,
    (ChildState.REPLACED, ChildInput.SUPERSEDED): ChildState.STRAGGLING,
    (ChildState.REPLACED, ChildInput.GONE): ChildState.DELETED,
    (ChildState.DELETING, ChildInput.SUPERSEDED): ChildState.STRAGGLING,
    (ChildState.DELETING, ChildInput.GONE): ChildState.DELETED,
    (ChildState.STRAGGLING, ChildInput.GONE): ChildState.DELETED,
}
"""Any other pair is a mistake of ours: ``advance`` raises ValueError."""


@dataclass(frozen=True, slots=True)
class ChildKeys:
    """KEYMAT of both directions as the data plane takes it (RFC 7296, 2.17)."""

    inbound: Secret
    outbound: Secret


@dataclass(slots=True, eq=False)
class Child:
    """One CHILD_SA. ``spi_in`` is ours, ``spi_out`` the peer's, 4 bytes each.

    ``outbound`` says that we send by it. ``lowest_nonce`` decides which one of two that came about
    at once is redundant (RFC 7296, 2.8.1). ``packets`` had come by it at ``looked_at``.
    """

    config: ChildConfig
    spi_in: bytes
    spi_out: bytes
    chosen: Chosen
    keys: ChildKeys
    local: tuple[TrafficSelector, ...]
    remote: tuple[TrafficSelector, ...]
    mode: Mode
    created: float
    lowest_nonce: bytes
    rekey_at: float | None = None
    outbound: bool = True
    outbound_at: float | None = None
    straggling_until: float | None = None
    replaced: bool = False
    state: ChildState = field(default=ChildState.INSTALLED)
    packets: int = 0
    looked_at: float = field(init=False)

    def __post_init__(self) -> None:
        self.looked_at = self.created

    def advance(self, event: ChildInput) -> None:
        """The only writer of ``state``; ValueError for what must not happen in it."""
        following = TRANSITIONS.get((self.state, event))
        if following is None:
            raise ValueError(f"CHILD_SA {self.config.name} is {self.state}, not fit for {event}")
        self.state = following
        self.replaced |= event is ChildInput.REPLACE
        if following in {ChildState.STRAGGLING, ChildState.DELETED}:
            self.outbound = False

    @property
    def is_usable(self) -> bool:
        """Whether it receives still."""
        return self.state is not ChildState.DELETED

    @property
    def is_known_to_peer(self) -> bool:
        """Whether its SPI may stand in an exchange."""
        return self.state not in {ChildState.STRAGGLING, ChildState.DELETED}

    @property
    def is_current(self) -> bool:
        """Whether it is neither replaced nor about to go."""
        return self.state in {ChildState.INSTALLED, ChildState.REKEYING}
