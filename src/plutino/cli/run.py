"""`plutino run`."""

import asyncio
from pathlib import Path

import click

from plutino.cli.target import FILE, load_target, remember_source
from plutino.config.files import LoadedGateway
from plutino.daemon.daemon import Daemon
from plutino.dataplane.runtime import RuntimePaths


@click.command(
    epilog="Example: plutino run /etc/plutino/paris.toml     (systemctl start plutino@paris)"
)
@click.argument("file", type=FILE)
def run(file: Path) -> None:
    """The daemon, in the foreground: make everything as FILE says, and keep it so.

    It heals what others break, and starts the engine again if it ends. SIGHUP reads FILE again.
    When the daemon ends, in whatever way, the tunnels go on; `plutino down` takes them away.
    """
    loaded, runtime = load_target(file, "")
    remember_source(runtime, file)
    asyncio.run(_run(file.resolve(), loaded, runtime))


async def _run(file: Path, loaded: LoadedGateway, runtime: RuntimePaths) -> None:
    await Daemon(file, loaded, runtime).run()
