"""The way of a tunnel's outer packets: from one of our addresses to one of the peer's."""

from dataclasses import dataclass

from plutino.model.numbers import Mark
from plutino.model.policy import IpAddress


@dataclass(frozen=True, slots=True)
class Path:
    """One way. ``keys`` is the name of its keys; ``set_mark`` is what its outer packets bear.

    ``local`` is None while the uplink has no address. ``usable`` is what is known of link, address,
    route and probes; one that was lost and is ``answering`` again will do where nothing is usable.
    """

    uplink: str | None
    local: IpAddress | None
    remote: IpAddress
    keys: str
    set_mark: Mark
    usable: bool
    probe: str
    answering: bool = False


def describe_path(path: Path) -> str:
    """A path in a few words."""
    ends = f"{path.local or 'no address'} to {path.remote}"
    return ends if path.uplink is None else f"uplink {path.uplink} ({ends})"


@dataclass(frozen=True, slots=True)
class TunnelPaths:
    """All paths of a tunnel, the best first; where its own SAs are, and what leaves uses."""

    every: tuple[Path, ...]
    own: Path
    active: Path

    @property
    def standby(self) -> tuple[Path, ...]:
        """Paths that have SAs of their own, and an address."""
        return tuple(one for one in self.every if one.keys != self.own.keys)

    @property
    def lost(self) -> bool:
        """Whether there are several ways or uplinks, and none of them is usable."""
        return not any(one.usable for one in self.every)
