"""Security associations in values: the SAD (RFC 4301, 4.4.2; ``struct xfrm_usersa_info``)."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from plutino.model.algorithms import AeadKey
from plutino.model.numbers import IfId, Mark, ReqId, Spi
from plutino.model.policy import IpAddress, Mode

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


@dataclass(frozen=True, slots=True)
class SecurityAssociation:
    """One SA. Its identity is destination, SPI, protocol and mark.

    ``output_mark`` is XFRMA_SET_MARK with its mask. Lifetimes are unlimited here.
    """

    spi: Spi
    source: IpAddress
    destination: IpAddress
    reqid: ReqId
    if_id: IfId
    aead: AeadKey
    direction: SaDirection
    mode: Mode = Mode.TUNNEL
    protocol: int = 50
    output_mark: Mark | None = None
    encapsulation: UdpEncapsulation | None = None
    esn: bool = True
    replay: ReplayState = ReplayState()

    @property
    def identity(self) -> tuple[IpAddress, Spi, int]:
        """What XFRM_MSG_DELSA needs to name this SA."""
        return (self.destination, self.spi, self.protocol)


@dataclass(frozen=True, slots=True)
class SaUse:
    """What an SA has done so far: octets of inner packets, packets, drops and times.

    Times are seconds since the epoch, 0 for never.
    """

    octets: int = 0
    packets: int = 0
    added: int = 0
    first_used: int = 0
    replay_window_drops: int = 0
    replay_drops: int = 0
    integrity_failures: int = 0
