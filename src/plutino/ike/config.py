"""What the core is told about a peer: values that the daemon makes of the gateway file.

Times are in seconds of the daemon's monotonic clock.
"""

from dataclasses import dataclass, field

from plutino.ike.auth.credentials import LocalCredential, RemoteCredential
from plutino.ike.auth.identity import Identity
from plutino.ike.payloads.traffic_selector import TrafficSelector
from plutino.ike.proposals import Suite
from plutino.model.policy import IpAddress, Mode
from plutino.model.secret import Secret


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """When an SA is replaced; None for never. ``jitter`` is the share by which it comes earlier."""

    rekey_after: float | None = 3600.0
    jitter: float = 0.1


@dataclass(frozen=True, slots=True)
class Retransmission:
    """A request is sent again after ``first`` seconds, then ``factor`` times later each time.

    After ``tries`` repetitions without an answer the peer is held to be dead.
    """

    first: float = 1.0
    factor: float = 1.8
    tries: int = 6
    longest: float = 30.0


@dataclass(frozen=True, slots=True)
class ChildConfig:
    """One CHILD_SA that a peer may have, under a name that is unique to the peer."""

    name: str
    suites: tuple[Suite, ...]
    local: tuple[TrafficSelector, ...]
    remote: tuple[TrafficSelector, ...]
    mode: Mode = Mode.TUNNEL
    lifetimes: Lifetimes = Lifetimes()


@dataclass(frozen=True, slots=True)
class PostquantumKey:
    """A post-quantum pre-shared key (RFC 8784); ``required``: no IKE SA without it."""

    identity: bytes
    key: Secret
    required: bool = True


@dataclass(frozen=True, slots=True)
class PeerConfig:
    """One peer. ``local`` None and no ``remotes`` mean any address, for one that only answers.

    ``reauthenticate_after`` None means never; ``liveness_after`` is the silence after which the
    peer is asked whether it lives. ``window`` is how many requests we take at once, and send at
    once to a peer that takes so many.
    """

    name: str
    suites: tuple[Suite, ...]
    local_credential: LocalCredential
    remote_credential: RemoteCredential
    children: tuple[ChildConfig, ...] = ()
    local: IpAddress | None = None
    remotes: tuple[IpAddress, ...] = ()
    lifetimes: Lifetimes = field(default_factory=lambda: Lifetimes(14400.0))
    reauthenticate_after: float | None = None
    liveness_after: float | None = 30.0
    retransmission: Retransmission = Retransmission()
    mobike: bool = True
    fragment_size: int | None = 1280
    force_encapsulation: bool = False
    childless: bool = False
    ppk: PostquantumKey | None = None
    window: int = 1
    send_certificates: bool = True

    @property
    def identities(self) -> tuple[Identity, Identity | None]:
        """Ours and the peer's, which is None where any will do."""
        return self.local_credential.identity, self.remote_credential.identity

    def child(self, name: str) -> ChildConfig:
        """The child of a name; KeyError if the peer has none such."""
        for one in self.children:
            if one.name == name:
                return one
        raise KeyError(name)
