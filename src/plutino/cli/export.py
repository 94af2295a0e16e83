"""`plutino export`."""

from collections.abc import Callable
from ipaddress import IPv4Address, ip_network
from pathlib import Path
from typing import Final

import click

from plutino.cli.target import FILE, load_target
from plutino.config.gateway import Gateway
from plutino.config.values import IpNetwork
from plutino.export.bird import bird_text
from plutino.export.frr import frr_text
from plutino.export.neighbours import RoutingOptions, vrfs
from plutino.export.networkd import networkd_text
from plutino.model.numbers import U32_MAX

_WRITERS: Final[dict[str, Callable[[Gateway, RoutingOptions], str]]] = {
    "frr": frr_text,
    "bird": bird_text,
    "networkd": lambda gateway, _options: networkd_text(gateway),
}


@click.command(
    epilog="Example: plutino export bird paris.toml --as 65001 --peer-as berlin=65002 "
    "--announce 10.1.0.0/16"
)
@click.argument("program", type=click.Choice(list(_WRITERS)))
@click.argument("file", type=FILE)
@click.option(
    "--as", "own_as", type=click.IntRange(1, U32_MAX), help="Our AS number; without it no BGP."
)
@click.option(
    "--peer-as",
    "peer_as",
    multiple=True,
    metavar="TUNNEL=NUMBER",
    help="The peer's AS number; any but ours if not given.",
)
@click.option("--area", help="The OSPF area, such as 0; without it no OSPF.")
@click.option("--announce", multiple=True, metavar="NETWORK", help="A network of this side.")
@click.option("--bfd/--no-bfd", default=True, show_default=True, help="BFD beside BGP.")
@click.option("--babel", is_flag=True, help="Babel on all interfaces, by BIRD.")
@click.option(
    "--vrf-table",
    "vrf_tables",
    multiple=True,
    metavar="VRF=TABLE",
    help="The number of a VRF's routing table, which BIRD has to know.",
)
def export(
    program: str,
    file: Path,
    *,
    own_as: int | None,
    peer_as: tuple[str, ...],
    area: str | None,
    announce: tuple[str, ...],
    bfd: bool,
    babel: bool,
    vrf_tables: tuple[str, ...],
) -> None:
    """Print the stanza of a routing daemon or network manager that goes with a gateway.

    Nothing is changed. Peers' addresses follow from `addresses` where these are a /31, /127 or /30.
    """
    gateway = load_target(file, "")[0].gateway
    options = RoutingOptions(
        own_as=own_as,
        peer_as=dict(_peer(gateway, one) for one in peer_as),
        area=None if area is None else _area(area),
        announced=tuple(map(_network, announce)),
        bfd=bfd,
        babel=babel,
        vrf_tables=dict(map(_table, vrf_tables)),
    )
    if babel and program != "bird":
        why = f"{program} is given no Babel here; `plutino export bird` writes it"
        raise click.BadParameter(why, param_hint="--babel")
    unknown = [] if program != "bird" else set(vrfs(gateway)) - {None} - set(options.vrf_tables)
    for name in unknown:
        why = f"give the table of VRF '{name}', which `ip link show type vrf` tells: {name}=10"
        raise click.BadParameter(why, param_hint="--vrf-table")
    click.echo(_WRITERS[program](gateway, options), nl=False)


def _peer(gateway: Gateway, text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    if name not in gateway.tunnels:
        why = f"there is no tunnel '{name}' (known: {', '.join(gateway.tunnels)})"
        raise click.BadParameter(why, param_hint="--peer-as")
    if not number.isdigit() or not 0 < int(number) <= U32_MAX:
        why = f"'{number}' is no AS number from 1 to {U32_MAX}; write {name}=65002"
        raise click.BadParameter(why, param_hint="--peer-as")
    return name, int(number)


def _table(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    if not name or not number.isdigit() or not 0 < int(number) <= U32_MAX:
        why = f"'{text}' names no VRF and its table; write red=10"
        raise click.BadParameter(why, param_hint="--vrf-table")
    return name, int(number)


def _area(text: str) -> str:
    try:
        return str(IPv4Address(int(text)) if text.isdigit() else IPv4Address(text))
    except ValueError:
        why = f"'{text}' is no area; write 0 or 0.0.0.0"
        raise click.BadParameter(why, param_hint="--area") from None


def _network(text: str) -> IpNetwork:
    try:
        return ip_network(text)
    except ValueError as error:
        why = f"{error}; write 10.1.0.0/16"
        raise click.BadParameter(why, param_hint="--announce") from None
