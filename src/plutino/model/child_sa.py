"""A CHILD_SA as IKE hands it to planning: one more input of the desired state."""

from dataclasses import dataclass

from plutino.model.algorithms import SaKeys
from plutino.model.numbers import Spi
from plutino.model.policy import IpAddress, Mode
from plutino.model.sa import UdpEncapsulation
from plutino.model.traffic import NetworkSelector


@dataclass(frozen=True, slots=True)
class ChildSa:
    """One CHILD_SA of a tunnel. ``outbound`` says that packets leave by it.

    While it is replaced, a tunnel has several: all of them receive, one sends. ``encapsulation``
    has the ports of our own packets, None for ESP without UDP. ``local_ts`` and ``remote_ts`` are
    the selectors that both ends agreed upon, as prefixes.
    """

    tunnel: str
    local: IpAddress
    remote: IpAddress
    spi_in: Spi
    spi_out: Spi
    keys_in: SaKeys
    keys_out: SaKeys
    local_ts: tuple[NetworkSelector, ...]
    remote_ts: tuple[NetworkSelector, ...]
    mode: Mode = Mode.TUNNEL
    esn: bool = False
    outbound: bool = True
    encapsulation: UdpEncapsulation | None = None
