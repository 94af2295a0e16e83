"""`plutino import`: from the set-ups of others to a gateway file."""

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from ipaddress import ip_address
from pathlib import Path

import click

from plutino.cli import exit_codes
from plutino.config.static_keys import StaticKeys, encode_keys, generate_pair, parse_keys
from plutino.migration.live import FALLBACK_DEVICES, KINDS, LiveSystem, LiveVti, live_vtis
from plutino.migration.steps import next_steps
from plutino.migration.text import encode_gateway, free_instance, problems_of
from plutino.migration.vti import ImportedVti, free_interface, import_vti, peers_of, tunnel_name
from plutino.model.errors import PlaneError
from plutino.model.policy import IpAddress
from plutino.netlink.route_client import RouteClient
from plutino.netlink.socket import NETLINK_XFRM, NetlinkSocket
from plutino.netlink.xfrm_client import XfrmClient

_GATEWAY = "gateway.toml"
_USED_AT = re.compile(r"for use at (\S+), towards")
_RP_FILTER = "/proc/sys/net/ipv4/conf/{}/rp_filter"


@click.group(name="import")
def import_() -> None:
    """Turn the set-up of another tool into a plutino configuration."""


@import_.command(
    epilog="Exit code 3 if something was left out. Example: plutino import vti --interface vti1 "
    "--output-dir /etc/plutino; then at the peer: plutino import vti --keys vti1-peer.keys"
)
@click.option("--interface", "names", multiple=True, help="Only this VTI; may be repeated.")
@click.option(
    "--output-dir",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=Path(),
    help="Folder for the gateway file and the keys.",
)
@click.option(
    "--keys",
    "key_files",
    multiple=True,
    metavar="[PEER=]FILE",
    help="The half of the keys that the import at the other end made; with several peers, PEER is "
    "its outer address.",
)
@click.pass_context
def vti(
    ctx: click.Context, names: tuple[str, ...], output_dir: Path, key_files: tuple[str, ...]
) -> None:
    """Read the live VTIs of this network namespace, and write a gateway file with XFRM interfaces.

    Changes nothing that is live. The keys are new, for both ends: run this at one end, bring the
    file NAME-peer.keys to the other, and run it there with --keys. Then both the VTI and the XFRM
    interface run side by side, and the printed steps move the traffic without a lost packet.
    """
    system = read_system()
    chosen = choose_vtis(system, names)
    given = _given_keys(chosen, key_files)
    imported = _import_all(chosen, system, given)
    instance = free_instance(system.links)
    tunnels = [(one, tunnel) for one in imported for tunnel in one.tunnels]
    file_names = {tunnel.name: f"{tunnel.name}.keys" for _, tunnel in tunnels}
    text = encode_gateway(imported, instance, file_names)
    files: dict[Path, str] = {output_dir / _GATEWAY: text}
    handed_over = []
    for one, tunnel in tunnels:
        local = one.live.ends.local
        keys = given.get(tunnel.remote)
        here, there = str(local), str(tunnel.remote)
        if keys is None:
            keys, theirs = generate_pair(os.urandom, tunnel.algorithm)
            path = output_dir / f"{tunnel.name}-peer.keys"
            files[path] = encode_keys(theirs, used_at=there, peer=here)
            handed_over.append(str(path))
        files[output_dir / file_names[tunnel.name]] = encode_keys(keys, used_at=here, peer=there)
    _write_all(files)
    for path in files:
        click.echo(f"wrote {path}")
    problems = [f"{one.live.name}: {why}" for one in imported for why in one.problems]
    if not names:
        problems += [
            f"{one}: it has no local address, and is not imported" for one in _endless(system)
        ]
    problems += problems_of(text, str(output_dir / _GATEWAY))
    click.echo()
    click.echo(
        next_steps(
            imported,
            str(output_dir / _GATEWAY),
            strict=system.strict,
            handed_over=handed_over,
        ),
        nl=False,
    )
    for problem in problems:
        click.echo(f"plutino: warning: {problem}", err=True)
    ctx.exit(exit_codes.DEGRADED if problems else exit_codes.DONE)


def read_system() -> LiveSystem:
    """The current network namespace. Raises KernelError or PlaneError."""
    with RouteClient() as routes, closing(NetlinkSocket.kernel(NETLINK_XFRM)) as socket:
        xfrm = XfrmClient(socket)
        links = routes.list_links()
        sas = tuple(sa for sa, _ in xfrm.list_sas())
        policies = xfrm.list_policies()
        remotes = {sa.destination: sa.source for sa in sas if not sa.if_id}
        paths = {}
        for remote, local in remotes.items():
            if (found := routes.path_mtu(remote, local)) is not None:
                paths[remote] = found[1]
        return LiveSystem(
            links,
            routes.list_addresses(),
            routes.list_routes(),
            policies,
            sas,
            paths,
            frozenset(link.name for link in links if _is_strict(link.name)),
        )


def choose_vtis(system: LiveSystem, names: Sequence[str]) -> tuple[LiveVti, ...]:
    """The VTIs of these names, or all of others. Raises PlaneError if there is none."""
    vtis = {one.name: one for one in live_vtis(system)}
    theirs = {
        name: one for name, one in vtis.items() if not (one.link.alias or "").startswith("plutino:")
    }
    hint = "see `ip -d link show type vti` and `ip -d link show type vti6`"
    for name in names:
        if name in vtis and name not in theirs:
            why = f"{name} is a VTI of plutino itself"
            raise PlaneError(why, "add a tunnel with another `interface` to its gateway file")
        if name not in theirs:
            kind = next((link.kind for link in system.links if link.name == name), None)
            why = f"there is no VTI {name} with a local address"
            raise PlaneError(why if kind is None or kind in KINDS else f"{name} is no VTI", hint)
    if not theirs:
        raise PlaneError("there is no VTI in this network namespace", hint)
    return tuple(theirs[name] for name in names or theirs)


def _endless(system: LiveSystem) -> list[str]:
    """VTIs that take ESP to any address of the host."""
    return [
        link.name
        for link in system.links
        if link.kind in KINDS and link.vti is None and link.name not in FALLBACK_DEVICES
    ]


def _is_strict(name: str) -> bool:
    with suppress(OSError, ValueError):
        values = [int(Path(_RP_FILTER.format(one)).read_text()) for one in ("all", name)]
        return max(values) == 1
    return False


def _given_keys(
    vtis: Sequence[LiveVti], key_files: Sequence[str]
) -> Mapping[IpAddress, StaticKeys]:
    locals_of = {peer: one.ends.local for one in vtis for peer in peers_of(one)}
    keys = {}
    for word in key_files:
        peer, file = _peer_and_file(word, locals_of)
        try:
            text = Path(file).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise PlaneError(f"{file} cannot be read: {error}") from error
        used_at = _USED_AT.search(text)
        if used_at is not None and used_at[1] == str(peer) != str(locals_of[peer]):
            why = f"{file} is the half for use at {peer}, not here"
            raise PlaneError(why, "give the half that was made for this end, `NAME-peer.keys`")
        keys[peer] = parse_keys(text, file)
    return keys


def _peer_and_file(word: str, peers: Mapping[IpAddress, object]) -> tuple[IpAddress, str]:
    before, equals, after = word.partition("=")
    if equals:
        with suppress(ValueError):
            peer = ip_address(before)
            if peer not in peers:
                raise click.BadParameter(f"no VTI that is imported has the peer {peer}")
            return peer, after
    if len(peers) != 1:
        words = ", ".join(map(str, peers))
        raise click.BadParameter(
            f"there are {len(peers)} peers ({words}): choose a VTI with --interface, or write "
            "--keys PEER=FILE"
        )
    return next(iter(peers)), word


def _import_all(
    vtis: Sequence[LiveVti], system: LiveSystem, keys: Mapping[IpAddress, StaticKeys]
) -> list[ImportedVti]:
    imported: list[ImportedVti] = []
    for one in vtis:
        taken = [other.interface for other in imported]
        imported.append(import_vti(one, system, free_interface(one, system, taken), keys))
    names = [tunnel_name(one, peer) for one in vtis for peer in peers_of(one)]
    if len(set(names)) < len(names):
        raise PlaneError(
            f"some of the tunnels would have one name: {', '.join(sorted(names))}",
            "import one VTI at a time, with --interface",
        )
    if not names:
        raise PlaneError("none of the VTIs has a peer: no remote address, no outbound policy")
    return imported


def _write_all(files: Mapping[Path, str]) -> None:
    """New files of mode 0600, all or none. Raises PlaneError."""
    for path in files:
        if os.path.lexists(path):
            raise PlaneError(
                f"{path} is there already", "choose another --output-dir, or move it away"
            )
    made = []
    try:
        for path, text in files.items():
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            with os.fdopen(os.open(path, flags, 0o600), "w") as file:
                made.append(path)
                file.write(text)
    except OSError as error:
        for path in made:
            path.unlink(missing_ok=True)
        raise PlaneError(f"{path} cannot be written: {error.strerror}") from error
