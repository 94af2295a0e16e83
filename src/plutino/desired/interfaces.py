"""The interfaces of a gateway, each once, with the MTU that all of its tunnels pass. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from plutino.config.gateway import Gateway
from plutino.config.numbers import tunnel_if_id, vti_keys
from plutino.config.static_keys import StaticKeys
from plutino.config.tunnel import Tunnel
from plutino.desired.child_sas import widest_suite
from plutino.desired.paths import unspecified
from plutino.desired.state import Surroundings
from plutino.model.algorithms import EspSuite
from plutino.model.interface import Interface, VtiEnds
from plutino.model.numbers import IfId
from plutino.model.path import TunnelPaths
from plutino.model.policy import Mode
from plutino.model.sa import Encapsulation, SaDirection, SecurityAssociation

DEFAULT_PATH_MTU: Final = 1500
LOWEST_MTU: Final = 1280
"""IPv6 needs it (RFC 8200, 5); what does not fit the path is then fragmented outside."""

_IP_HEADER: Final = {4: 20, 6: 40}
_UDP_HEADER: Final = 8
_ESP_HEADER: Final = 8
_ESP_TRAILER: Final = 2
_BEET_HEADER: Final = 8
"""IPV4_BEET_PHMAXLEN: what a pseudo header of IPv4 options takes at most."""


def compile_interfaces(
    gateway: Gateway,
    keys: Mapping[str, StaticKeys],
    paths: Mapping[str, TunnelPaths],
    surroundings: Surroundings,
    sas: Mapping[str, tuple[SecurityAssociation, ...]],
) -> Iterator[Interface]:
    """Every interface; tunnels that share one share the smallest of their MTUs.

    ``paths``, ``path_mtu`` and ``sas`` are by tunnel name.
    """
    sharing: dict[str, list[str]] = {}
    for name, tunnel in gateway.tunnels.items():
        sharing.setdefault(tunnel.interface, []).append(name)
    for interface, names in sharing.items():
        tunnels = [gateway.tunnels[name] for name in names]
        mtus = [
            _tunnel_mtu(
                gateway.tunnels[name],
                keys[name].suite if name in keys else widest_suite(gateway.tunnels[name]),
                surroundings.path_mtu.get(name),
                in_udp=any(one.encapsulation for one in surroundings.children.get(name, ())),
            )
            for name in names
        ]
        explicit = [tunnel.mtu for tunnel in tunnels if tunnel.mtu is not None]
        options = gateway.options(interface)
        yield Interface(
            name=interface,
            if_id=IfId(0) if options.external else tunnel_if_id(gateway, names[0]),
            mtu=explicit[0] if explicit else min(mtus),
            link=options.link,
            external=options.external,
            vrf=options.vrf,
            vti=_vti(gateway, interface, [paths[name] for name in names])
            if options.kind == "vti"
            else None,
            namespace=options.namespace,
            dormant=not any(
                _serves(gateway.tunnels[name], paths[name], sas[name]) for name in names
            ),
        )


def _carries(paths: TunnelPaths, sas: Iterable[SecurityAssociation]) -> bool:
    """Whether what a tunnel sends may arrive: a path that is not lost, and the SA that is on it."""
    ends = paths.active.local, paths.active.remote
    return not paths.lost and any(
        one.direction is SaDirection.OUT and (one.source, one.destination) == ends for one in sas
    )


def _serves(tunnel: Tunnel, paths: TunnelPaths, sas: Iterable[SecurityAssociation]) -> bool:
    """Whether packets may leave by a tunnel; where they have to start IKE, they must come to it.

    IKE knows its path better than the file: behind a NAT, or moved by MOBIKE.
    """
    if tunnel.ike is None:
        return _carries(paths, sas)
    if paths.active.remote.is_unspecified:
        return False
    sends = any(one.direction is SaDirection.OUT for one in sas)
    return not paths.lost and (sends or tunnel.ike.start == "on-traffic")


def _vti(gateway: Gateway, interface: str, paths: list[TunnelPaths]) -> VtiEnds:
    keys = vti_keys(gateway, interface)
    active = [one.active for one in paths]
    remotes = {one.remote for one in active}
    remote = remotes.pop() if len(remotes) == 1 else None
    local = active[0].local or unspecified(active[0].remote.version)
    return VtiEnds(local, remote, keys.input, keys.output)


def _tunnel_mtu(
    tunnel: Tunnel, suite: EspSuite, path_mtu: int | None, *, in_udp: bool = False
) -> int:
    inner = 6 if any(one.version == 6 for one in tunnel.remote_ts) else 4
    return inner_mtu(
        path_mtu or DEFAULT_PATH_MTU,
        tunnel.remote.version,
        Encapsulation.UDP if in_udp else Encapsulation(tunnel.encapsulation),
        suite,
        mode=Mode[tunnel.mode.upper()],
        inner_version=inner,
    )


def inner_mtu(
    path_mtu: int,
    version: int,
    encapsulation: Encapsulation,
    suite: EspSuite,
    *,
    mode: Mode = Mode.TUNNEL,
    inner_version: int = 4,
) -> int:
    """Bytes of the largest inner packet that fits a path, and that the kernel takes for such.

    ``version`` is that of the outer addresses; ``inner_version`` matters to BEET alone.
    """
    around = _ESP_HEADER + suite.encryption.iv_size + suite.icv_size + _IP_HEADER[version]
    if encapsulation is Encapsulation.UDP:
        around += _UDP_HEADER
    room = path_mtu - around
    if mode is Mode.TUNNEL:
        fits = _payload(room, suite)
    elif mode is Mode.TRANSPORT:
        # The packet's own header stands outside and is not encrypted.
        fits = _payload(room, suite) + _IP_HEADER[version]
    else:
        pseudo = _BEET_HEADER if inner_version == 4 else 0
        fits = _payload(room, suite) - pseudo + _IP_HEADER[inner_version]
        fits = min(fits, _kernel_beet_mtu(room - pseudo, version, inner_version, suite))
    return max(fits, LOWEST_MTU)


def _kernel_beet_mtu(room: int, version: int, inner_version: int, suite: EspSuite) -> int:
    """``xfrm_state_mtu()`` takes the inner header to be as long as the outer one.

    So it allows less than fits for IPv6 in IPv4, and more for some ciphers for IPv4. What is
    larger is answered with "packet too big" before it is sent.
    """
    if version == 6 and inner_version == 4:
        room -= _IP_HEADER[6] - _IP_HEADER[4]
    return _payload(room, suite) + _IP_HEADER[version]


def _payload(room: int, suite: EspSuite) -> int:
    """Bytes to encrypt, without ESP's trailer, that fill whole blocks."""
    block = suite.encryption.block_size
    return room // block * block - _ESP_TRAILER
