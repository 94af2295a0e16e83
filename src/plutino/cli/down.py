"""`plutino down`."""

import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import click

from plutino.apply.remove import remove_all
from plutino.cli.target import FILE, load_target, print_json
from plutino.control.client import ask_daemon
from plutino.daemon.ike_store import forget_ike_sas
from plutino.daemon.passes import open_routes, pass_lock, save_running, system_of
from plutino.dataplane.choice import current_choice, open_plane
from plutino.dataplane.engine_process import engine_running
from plutino.dataplane.held_sockets import HeldSockets
from plutino.dataplane.plane import ManagedPlane
from plutino.dataplane.runtime import RuntimePaths
from plutino.model.errors import PlaneError, PlutinoError
from plutino.model.instance import DEFAULT_INSTANCE

_STOP_TIMEOUT = 20.0
"""Seconds for a daemon to end, or an engine."""


@click.command(epilog="Examples: plutino down     plutino down /etc/plutino/paris.toml")
@click.argument("file", type=FILE, required=False)
@click.option("--instance", default=DEFAULT_INSTANCE, help="Which one, if no FILE is given.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def down(file: Path | None, instance: str, as_json: bool) -> None:
    """Stop its processes, and take away everything that bears our tag, nothing else.

    The engine goes on if others have SAs or policies in it. Saved sequence numbers stay, so that
    static keys can be used again safely.
    """
    if file is not None:
        instance = load_target(file, instance)[0].gateway.instance
    runtime = RuntimePaths.of(instance)
    _stop_daemon(runtime)
    with pass_lock(runtime), open_routes(runtime) as routes:
        choice = current_choice(instance, runtime, routes)
        with suppress(PlutinoError):
            save_running(instance, runtime)
        plane = (
            None
            if choice is None
            else open_plane(choice, instance, runtime, routes=routes, start=False)
        )
        steps = remove_all(instance, plane, system_of(instance, runtime, routes))
        others = 0 if plane is None else _end(plane, runtime)
        HeldSockets(runtime.holder_socket).end()
        forget_ike_sas(runtime)
    if others:
        words = f"{others} devices, SAs or policies in it are not plutino's"
        click.echo(f"the engine goes on: {words}", err=True)
    else:
        shutil.rmtree(runtime.directory, ignore_errors=True)
    if as_json:
        print_json({"version": 1, "steps": [step.to_json() for step in steps]})
        return
    for step in steps:
        click.echo(step.describe())
    if not steps:
        click.echo("nothing to do")


def _stop_daemon(runtime: RuntimePaths) -> None:
    if ask_daemon(runtime.control_socket, "stop") is None:
        return
    _wait("the daemon", lambda: not runtime.control_socket.exists())


def _end(plane: ManagedPlane, runtime: RuntimePaths) -> int:
    """End the engine, unless it holds objects of others, whose number is given."""
    try:
        others = plane.objects_left()
        if others == 0:
            plane.shutdown()
            _wait("the engine", lambda: not engine_running(runtime))
        return others
    finally:
        plane.close()


def _wait(who: str, ended: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _STOP_TIMEOUT
    while not ended():
        if time.monotonic() > deadline:
            raise PlaneError(f"{who} does not end", hint="end it with kill, then try again")
        time.sleep(0.01)
