"""`plutino run`."""

import asyncio
from pathlib import Path

import click

from plutino.cli.target import FILE, load_target, remember_source
from plutino.daemon.daemon import Daemon
from plutino.daemon.key_log import KeyLog


@click.command(
    epilog="Example: plutino run /etc/plutino/paris.toml     (systemctl start plutino@paris)"
)
@click.argument("file", type=FILE)
@click.option(
    "--ike-keys",
    type=click.Path(path_type=Path),
    help="For debugging: add the keys of IKE SAs to this file, for Wireshark.",
)
def run(file: Path, ike_keys: Path | None) -> None:
    """The daemon, in the foreground: make everything as FILE says, and keep it so.

    It heals what others break, and starts the engine again if it ends. SIGHUP reads FILE again.
    When the daemon ends, in whatever way, the tunnels go on; `plutino down` takes them away.
    """
    loaded, runtime = load_target(file, "")
    key_log = None if ike_keys is None else KeyLog(ike_keys)
    remember_source(runtime, file)
    asyncio.run(_run(Daemon(file.resolve(), loaded, runtime, key_log)))


async def _run(daemon: Daemon) -> None:
    await daemon.run()
