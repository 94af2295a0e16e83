"""The gateway file of imported VTIs, and what its user does with it. Pure."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence

from plutino.config.load import load_text
from plutino.migration.vti import ImportedTunnel, ImportedVti
from plutino.model.errors import ConfigError
from plutino.model.instance import DEFAULT_INSTANCE
from plutino.model.link import Link, link_alias
from plutino.model.sa import Encapsulation

_WIDTH = 100
_OTHER_INSTANCE = "from-vti"


def free_instance(links: Iterable[Link]) -> str:
    """The default instance, or another if links of that one exist, which it would take away."""
    tags = {link.alias for link in links}
    return _OTHER_INSTANCE if link_alias(DEFAULT_INSTANCE) in tags else DEFAULT_INSTANCE


def encode_gateway(vtis: Sequence[ImportedVti], instance: str, key_files: Mapping[str, str]) -> str:
    """The text of the gateway file; ``key_files`` are by tunnel name."""
    lines = [
        *_comment(
            "Made by `plutino import vti`. Each XFRM interface takes the place of a VTI; both run "
            "side by side until the VTI's routes are gone. The keys are new: those of the VTI "
            "would repeat its nonces."
        ),
        'data-plane = "kernel"',
    ]
    if instance != DEFAULT_INSTANCE:
        lines += _comment(f"Another gateway file has made links of instance {DEFAULT_INSTANCE}.")
        lines.append(f'instance = "{instance}"')
    for vti in vtis:
        lines += ["", *_head(vti)]
        options = [("vrf", vti.vrf), ("link", vti.link)]
        table = [f'{key} = "{value}"' for key, value in options if value is not None]
        if table and vti.tunnels:
            lines += [f"[interfaces.{vti.interface}]", *table, ""]
        for number, tunnel in enumerate(vti.tunnels):
            lines += [*([""] if number else []), *_tunnel(vti, tunnel, first=not number)]
            lines.append(f'static.key-file = "{key_files[tunnel.name]}"')
    return "\n".join(lines) + "\n"


def problems_of(text: str, file: str) -> tuple[str, ...]:
    """What plutino will not accept of a gateway file's text, in words."""
    try:
        load_text(text, file)
    except ConfigError as error:
        return tuple(map(str, error.problems))
    return ()


def _comment(text: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False
    )


def _head(vti: ImportedVti) -> Iterator[str]:
    ends = vti.live.ends
    keys = f"key {ends.input_key}"
    if ends.input_key != ends.output_key:
        keys = f"keys {ends.input_key} (in) and {ends.output_key} (out)"
    remote = "any peer" if ends.remote is None else str(ends.remote)
    kind = vti.live.link.kind
    yield from _comment(f"{vti.live.name}: {kind} from {ends.local} to {remote}, {keys}")
    for note in vti.notes:
        yield from _comment(note)
    for problem in vti.problems:
        yield from _comment(f"LEFT OUT: {problem}")


def _tunnel(vti: ImportedVti, tunnel: ImportedTunnel, *, first: bool) -> Iterator[str]:
    yield f"[tunnels.{tunnel.name}]"
    yield f'interface = "{vti.interface}"'
    yield f'local = "{vti.live.ends.local}"'
    yield f'remote = "{tunnel.remote}"'
    lists: tuple[tuple[str, Iterable[object]], ...] = (
        ("addresses", vti.addresses if first else ()),
        ("routes", tunnel.routes),
        ("local-ts", tunnel.local_ts),
        ("remote-ts", tunnel.remote_ts),
    )
    for key, values in lists:
        words = ", ".join(f'"{value}"' for value in values)
        if words:
            yield f"{key} = [{words}]"
    if first and vti.mtu is not None:
        yield f"mtu = {vti.mtu}"
    if tunnel.encapsulation is Encapsulation.UDP:
        yield 'encapsulation = "udp"'
    if tunnel.replay_window is not None:
        yield f"replay-window = {tunnel.replay_window}"
    for key, mark in (("set-mark-in", tunnel.set_mark_in), ("set-mark-out", tunnel.set_mark_out)):
        if mark is not None:
            yield f'{key} = "{mark}"'
