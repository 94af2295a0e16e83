"""The numbers that tie a tunnel's interface, SAs and policies together: one place for all. Pure."""

from dataclasses import dataclass

from plutino.config.gateway import Gateway
from plutino.model.interface import bits_of_mark, interface_if_id, named_if_id, output_mark
from plutino.model.numbers import IfId, Mark


@dataclass(frozen=True, slots=True)
class TunnelNumbers:
    """if_id and marks of one tunnel.

    ``mark_in`` and ``mark_out`` are XFRMA_MARK, by which SAs and policies are looked up;
    ``set_mark_in`` and ``set_mark_out`` are XFRMA_SET_MARK, what transformed packets get.
    """

    if_id: IfId
    mark_in: Mark | None
    mark_out: Mark | None
    set_mark_in: Mark | None
    set_mark_out: Mark


@dataclass(frozen=True, slots=True)
class VtiKeys:
    """IFLA_VTI_IKEY and OKEY, which the kernel takes for marks."""

    input: int
    output: int


def tunnel_if_id(gateway: Gateway, name: str) -> IfId:
    """The if_id of a tunnel: that of its interface, its own on an external one, none on a VTI.

    Raises ValueError if the interface's name or the configuration gives none that is valid.
    """
    tunnel = gateway.tunnels[name]
    options = gateway.options(tunnel.interface)
    if options.kind == "vti":
        return IfId(0)
    if options.external:
        return named_if_id(name) if tunnel.if_id is None else IfId(tunnel.if_id)
    return interface_if_id(tunnel.interface, tunnel.if_id)


def standby_keys(tunnel: str, place: int) -> str:
    """The name of the keys of a tunnel's standby SAs; no tunnel can have it."""
    return f"{tunnel}/{place + 1}"


def uplink_mark(gateway: Gateway, name: str) -> Mark:
    """What leads outer packets to an uplink: its number in the file, from 1 on.

    Raises ValueError if the mask has no room for it.
    """
    number = 1 + list(gateway.uplinks).index(name)
    mark = bits_of_mark(number, gateway.uplink_mask)
    if mark is None:
        raise ValueError(
            f"uplink number {number} does not fit uplink mask {gateway.uplink_mask:#x}"
        )
    return mark


def vti_keys(gateway: Gateway, interface: str) -> VtiKeys:
    """The keys of a VTI: as configured, or what would be its if_id."""
    options = gateway.options(interface)
    key = int(interface_if_id(interface)) if options.key is None else options.key
    return VtiKeys(options.input_key or key, options.output_key or key)


def tunnel_numbers(gateway: Gateway, name: str) -> TunnelNumbers:
    """All numbers of a tunnel. Raises ValueError if one does not fit."""
    tunnel = gateway.tunnels[name]
    if_id = tunnel_if_id(gateway, name)
    mark_in, mark_out, number = tunnel.mark_in, tunnel.mark_out, int(if_id)
    if gateway.options(tunnel.interface).kind == "vti":
        keys = vti_keys(gateway, tunnel.interface)
        mark_in, mark_out = mark_in or Mark(keys.input), mark_out or Mark(keys.output)
        number = keys.output
    set_mark_out = tunnel.set_mark_out or output_mark(IfId(number), gateway.mark_mask)
    return TunnelNumbers(if_id, mark_in, mark_out, tunnel.set_mark_in, set_mark_out)
