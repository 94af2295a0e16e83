"""What a gateway asks of a data plane, read from the objects that it was compiled to. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from plutino.config.gateway import Gateway
from plutino.config.interface_options import InterfaceOptions
from plutino.config.planes import plane_needs
from plutino.desired.state import DesiredState, TunnelPlan
from plutino.model.algorithms import AeadKey
from plutino.model.feature import Demands, Feature, PlaneBinding, Requirement
from plutino.model.numbers import U32_MAX
from plutino.model.policy import Mode
from plutino.model.sa import OffloadMode, SaDirection, SecurityAssociation

_LEGACY_WINDOW: Final = 1024
"""Windows up to this size are as old as ESN itself; larger ones have a line of their own."""
_ESP: Final[Mapping[tuple[Mode, int], Feature]] = {
    (Mode.TUNNEL, 4): Feature.ESP_TUNNEL_V4,
    (Mode.TUNNEL, 6): Feature.ESP_TUNNEL_V6,
    (Mode.TRANSPORT, 4): Feature.ESP_TRANSPORT_V4,
    (Mode.TRANSPORT, 6): Feature.ESP_TRANSPORT_V6,
    (Mode.BEET, 4): Feature.ESP_BEET_V4,
    (Mode.BEET, 6): Feature.ESP_BEET_V6,
}
_VTI: Final = {4: Feature.VTI_V4, 6: Feature.VTI_V6}
_UDP: Final = {4: Feature.UDP_V4, 6: Feature.UDP_V6}


def demands_of(gateway: Gateway, desired: DesiredState) -> Demands:
    """Every feature that is asked for, once for each tunnel and interface that asks."""
    requirements: dict[tuple[Feature, str], Requirement] = {}
    for name, tunnel in gateway.tunnels.items():
        options = gateway.options(tunnel.interface)
        user = f"interface '{tunnel.interface}'"
        for feature, key in _of_interface(options, tunnel.local.version):
            place = f"interfaces.{tunnel.interface}.{key}" if key else f"tunnels.{name}.interface"
            requirements.setdefault((feature, user), Requirement(feature, user, place))
    for plan in desired.tunnels:
        user = f"tunnel '{plan.name}'"
        for feature, key in _of_tunnel(plan):
            place = _place(gateway, plan.name, key)
            requirements.setdefault((feature, user), Requirement(feature, user, place))
    if desired.defaults is not None:
        feature, user = Feature.POLICY_DEFAULT, "the gateway"
        requirements[feature, user] = Requirement(feature, user, "policy-default")
    bindings = tuple(
        PlaneBinding(one.plane, ".".join(map(str, one.at)), one.why) for one in plane_needs(gateway)
    )
    return Demands(tuple(requirements.values()), bindings)


def _place(gateway: Gateway, name: str, key: str) -> str:
    """Where a file says it: the key of the tunnel, or what its value follows from."""
    tunnel = gateway.tunnels[name]
    if key in ("mark-in", "mark-out"):
        if (tunnel.mark_in if key == "mark-in" else tunnel.mark_out) is None:
            return f"interfaces.{tunnel.interface}.kind"
    elif key == "set-mark-out" and tunnel.set_mark_out is None:
        return "mark-mask" if gateway.mark_mask != U32_MAX else f"tunnels.{name}.interface"
    elif tunnel.ike is not None and key.startswith("static"):
        return f"tunnels.{name}.ike.esp-proposals"
    return f"tunnels.{name}.{key}"


def _of_interface(options: InterfaceOptions, version: int) -> Iterator[tuple[Feature, str]]:
    """Features with the key that asks for each; empty where the interface itself does.

    From the configuration, since an interface may wait for its network namespace.
    """
    if options.kind == "vti":
        yield _VTI[version], "kind"
    else:
        yield Feature.XFRM_LINK, ""
    if options.external:
        yield Feature.EXTERNAL_LINK, "external"
        yield Feature.ENCAP_ROUTE, "external"
    if options.vrf is not None:
        yield Feature.VRF, "vrf"


def _of_tunnel(plan: TunnelPlan) -> Iterator[tuple[Feature, str]]:
    if any(policy.if_id for policy in plan.policies):
        yield Feature.POLICY, "interface"
    for sa in (*plan.sas, *plan.expected):
        yield from _of_sa(sa)


def _of_sa(sa: SecurityAssociation) -> Iterator[tuple[Feature, str]]:
    version = sa.destination.version
    is_out = sa.direction is SaDirection.OUT
    yield _ESP[sa.mode, version], "mode"
    for name in _algorithms(sa):
        yield Feature(name), "static.key-file"
    if sa.encapsulation is not None:
        yield _UDP[version], "encapsulation"
    if sa.esn:
        yield Feature.ESN, "static"
    if sa.replay.window > _LEGACY_WINDOW:
        yield Feature.REPLAY_WINDOW, "replay-window"
    if sa.mark is not None:
        yield Feature.MARK, "mark-out" if is_out else "mark-in"
    if sa.output_mark is not None:
        if is_out:
            is_full = sa.output_mark.mask == U32_MAX
            feature = Feature.OUTPUT_MARK if is_full else Feature.OUTPUT_MARK_MASK
            yield feature, "set-mark-out"
        else:
            yield Feature.INPUT_MARK, "set-mark-in"
    if sa.nat_keepalive:
        yield Feature.NAT_KEEPALIVE, "nat-keepalive"
    if sa.cpu is not None:
        yield Feature.SA_CPU, "static"
    if sa.offload is not None:
        is_packet = sa.offload.mode is OffloadMode.PACKET
        yield Feature.PACKET_OFFLOAD if is_packet else Feature.CRYPTO_OFFLOAD, "offload"


def _algorithms(sa: SecurityAssociation) -> Iterable[str]:
    if isinstance(sa.keys, AeadKey):
        return (sa.keys.kernel_name,)
    return sa.keys.encryption, sa.keys.integrity
