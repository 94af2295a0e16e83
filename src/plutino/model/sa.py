"""Security associations in values: the SAD (RFC 4301, 4.4.2; ``struct xfrm_usersa_info``)."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final

from plutino.model.algorithms import SaKeys
from plutino.model.numbers import IfId, Mark, ReqId, Spi
from plutino.model.policy import IpAddress, Mode, Selector

NAT_T_PORT = 4500
"""UDP port of ESP in UDP and IKE behind NAT (RFC 3948, RFC 7296, 2.23)."""


class Encapsulation(StrEnum):
    """How ESP travels: by itself (IP protocol 50) or in UDP (RFC 3948)."""

    ESP = "esp"
    UDP = "udp"


class SaDirection(IntEnum):
    """XFRM_SA_DIR_IN and OUT."""

    IN = 1
    OUT = 2


@dataclass(frozen=True, slots=True)
class UdpEncapsulation:
    """``struct xfrm_encap_tmpl`` of type UDP_ENCAP_ESPINUDP: both ports, in host order."""

    source_port: int = NAT_T_PORT
    destination_port: int = NAT_T_PORT


@dataclass(frozen=True, slots=True)
class ReplayState:
    """Sequence numbers of an SA (``struct xfrm_replay_state_esn``).

    ``oseq`` is the last number sent, ``seq`` the highest received, both 64 bits with ESN.
    ``window`` is in packets; bit n of ``bitmap`` stands for number ``seq - n``.
    """

    oseq: int = 0
    seq: int = 0
    window: int = 0
    bitmap: int = 0


class OffloadMode(StrEnum):
    """What a device takes over: cryptography, or all of ESP (XFRM_OFFLOAD_PACKET)."""

    CRYPTO = "crypto"
    PACKET = "packet"


@dataclass(frozen=True, slots=True)
class Offload:
    """XFRMA_OFFLOAD_DEV: the device by its index in the SA's namespace, and what it does."""

    ifindex: int
    mode: OffloadMode = OffloadMode.CRYPTO


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Limits of ``struct xfrm_lifetime_cfg``: soft ones bring an event, hard ones the end.

    Bytes of inner packets, packets, and seconds since the SA was added; None for no limit.
    """

    soft_octets: int | None = None
    hard_octets: int | None = None
    soft_packets: int | None = None
    hard_packets: int | None = None
    soft_seconds: int | None = None
    hard_seconds: int | None = None


UNLIMITED: Final = Lifetime()


@dataclass(frozen=True, slots=True)
class SecurityAssociation:
    """One SA. Its identity is destination, SPI, protocol and mark.

    ``mark`` is XFRMA_MARK, ``output_mark`` XFRMA_SET_MARK, each with its mask. ``selector`` holds
    the inner addresses of BEET mode. ``nat_keepalive`` is in seconds, 0 for none; ``cpu`` binds an
    outbound SA to a CPU (RFC 9611).
    """

    spi: Spi
    source: IpAddress
    destination: IpAddress
    reqid: ReqId
    if_id: IfId
    keys: SaKeys
    direction: SaDirection
    mode: Mode = Mode.TUNNEL
    protocol: int = 50
    output_mark: Mark | None = None
    encapsulation: UdpEncapsulation | None = None
    esn: bool = True
    replay: ReplayState = ReplayState()
    mark: Mark | None = None
    selector: Selector | None = None
    offload: Offload | None = None
    lifetime: Lifetime = UNLIMITED
    nat_keepalive: int = 0
    cpu: int | None = None

    @property
    def identity(self) -> tuple[IpAddress, Spi, int]:
        """What XFRM_MSG_DELSA needs to name this SA."""
        return (self.destination, self.spi, self.protocol)


@dataclass(frozen=True, slots=True)
class SaName:
    """What a data plane finds an SA by (``struct xfrm_usersa_id`` and XFRMA_MARK)."""

    destination: IpAddress
    spi: Spi
    mark: Mark | None = None
    protocol: int = 50


@dataclass(frozen=True, slots=True)
class SaUse:
    """What an SA has done so far: octets of inner packets, packets, drops and times.

    Times are seconds since the epoch, 0 for never.
    """

    octets: int = 0
    packets: int = 0
    added: int = 0
    first_used: int = 0
    last_used: int = 0
    replay_window_drops: int = 0
    replay_drops: int = 0
    integrity_failures: int = 0
