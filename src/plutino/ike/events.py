"""What the core tells the daemon, besides its datagrams and the CHILD_SAs as they stand."""

from dataclasses import dataclass

from plutino.ike.path import Path


@dataclass(frozen=True, slots=True)
class IkeEstablished:
    """An IKE SA is up; ``replaces`` where it is a rekeyed one."""

    peer: str
    initiator_spi: bytes
    responder_spi: bytes
    replaces: bytes | None = None


@dataclass(frozen=True, slots=True)
class IkeClosed:
    """An IKE SA has ended, with all CHILD_SAs it still had. ``reason`` is for the log."""

    peer: str
    initiator_spi: bytes
    responder_spi: bytes
    reason: str
    has_successor: bool = False


@dataclass(frozen=True, slots=True)
class ChildrenChanged:
    """CHILD_SAs came, changed or went: the daemon asks anew what there should be."""

    peer: str
    why: str


@dataclass(frozen=True, slots=True)
class Refused:
    """An exchange failed, by us or by the peer; ``reason`` is for the log alone."""

    peer: str
    reason: str


@dataclass(frozen=True, slots=True)
class PathChanged:
    """The IKE SA, and its CHILD_SAs, go by other addresses or ports now."""

    peer: str
    initiator_spi: bytes


@dataclass(frozen=True, slots=True)
class ReauthenticationDue:
    """The IKE SA is to be made anew from the start, before this one ends."""

    peer: str
    initiator_spi: bytes


@dataclass(frozen=True, slots=True)
class SaAwaited:
    """The peer may send by the SA of this inbound SPI before we have its keys (RFC 7296, 2.8)."""

    peer: str
    path: Path
    spi_in: bytes
    udp: bool


@dataclass(frozen=True, slots=True)
class UseWanted:
    """Nothing came by IKE for so long that ESP of the peer's CHILD_SAs counts (RFC 7296, 2.4)."""

    peer: str


Event = (
    IkeEstablished
    | IkeClosed
    | ChildrenChanged
    | Refused
    | PathChanged
    | ReauthenticationDue
    | SaAwaited
    | UseWanted
)
