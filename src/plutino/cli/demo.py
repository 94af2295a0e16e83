"""`plutino demo`."""

import os
import select
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from plutino.cli import exit_codes
from plutino.cli.target import print_json
from plutino.dataplane.runtime import RUNTIME_VARIABLE, STATE_VARIABLE
from plutino.lab.demo import DemoOptions, run_demo
from plutino.lab.hosts import Host
from plutino.lab.world import FOLDER, Tell, outer_pid, run_world
from plutino.model.algorithms import DEFAULT_ALGORITHM, ESP_SUITES


@click.command(
    epilog="Examples: plutino demo     plutino demo --hold     "
    "plutino demo --encapsulation udp --family 6 --capture wire.pcapng"
)
@click.option("--hold", is_flag=True, help="Keep both hosts until Ctrl-C, and say how to enter.")
@click.option(
    "--capture",
    type=click.File("wb", lazy=False),
    help="Write what was on the wire to this file (pcapng).",
)
@click.option(
    "--encapsulation",
    type=click.Choice(["esp", "udp"]),
    default="esp",
    show_default=True,
    help="ESP as IP protocol 50, or in UDP port 4500.",
)
@click.option(
    "--family",
    type=click.Choice(["4", "6"]),
    default="4",
    show_default=True,
    help="IP version of the outer addresses.",
)
@click.option(
    "--plane",
    type=click.Choice(["auto", "kernel", "userspace"]),
    default="auto",
    show_default=True,
    help="Who transforms the packets: the kernel, or the engine in user space.",
)
@click.option(
    "--peer-plane",
    type=click.Choice(["auto", "kernel", "userspace"]),
    help="Berlin's, if it shall not be that of Paris.",
)
@click.option(
    "--mode",
    type=click.Choice(["tunnel", "beet"]),
    default="tunnel",
    show_default=True,
    help="How packets are wrapped; `beet` has IPv4 inside.",
)
@click.option(
    "--algorithm",
    type=click.Choice(list(ESP_SUITES)),
    default=DEFAULT_ALGORITHM,
    show_default=True,
    metavar="NAME",
    help="Cipher of both directions, as `plutino keygen` has them.",
)
@click.option(
    "--keys",
    type=click.Choice(["ike", "static"]),
    default="ike",
    show_default=True,
    help="Keys by IKEv2, or in files as `plutino keygen` makes them.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
@click.pass_context
def demo(
    ctx: click.Context,
    *,
    hold: bool,
    capture: Any,
    encapsulation: str,
    family: str,
    plane: str,
    peer_plane: str | None,
    mode: str,
    algorithm: str,
    keys: str,
    as_json: bool,
) -> None:
    """Show plutino's main job on this machine: two hosts, a routed IPsec tunnel, real packets.

    Nothing outside of the demo is touched, and nothing is left of it. Exit code 0 if every check
    passed.
    """
    options = DemoOptions(
        encapsulation,
        int(family),
        plane,
        capture,
        peer_plane=peer_plane,
        mode=mode,
        algorithm=algorithm,
        keys=keys,
    )

    def say(line: str) -> None:
        click.echo(line, err=as_json)

    held, release = os.pipe()

    def work(tell: Tell) -> dict[str, Any]:
        def wait(hosts: tuple[Host, Host]) -> None:
            places = {host.name: str(host.folder) for host in hosts}
            pids = {host.name: host.daemon.pid for host in hosts if host.daemon is not None}
            tell({"folders": places, "pids": pids})
            select.select([held], [], [])

        report = run_demo(FOLDER / "lab", options, say, wait if hold else None)
        if capture is not None:
            capture.flush()
        return report.to_json()

    if hold:
        # Ctrl-C ends the holding, not the demo: the hosts are taken down as always.
        signal.signal(signal.SIGINT, lambda *_: os.write(release, b"."))
    result = run_world(
        work,
        on_event=lambda init, event: _explain_entry(init, event, say),
        needs_tun={plane, peer_plane or plane} != {"kernel"},
    )
    if as_json:
        print_json(result)
    ctx.exit(exit_codes.DONE if result["passed"] else exit_codes.FAILED)


def _explain_entry(init: int, event: dict[str, Any], say: Callable[[str], None]) -> None:
    """How to run commands at each host, while the demo holds."""
    program = Path(sys.executable).with_name("plutino")
    for name, folder in event["folders"].items():
        pid = outer_pid(init, event["pids"][name])
        say(f"at {name}:")
        say(
            f"    nsenter --target {pid} --all env {RUNTIME_VARIABLE}={folder}/run "
            f"{STATE_VARIABLE}={folder}/state {program} status"
        )
    say("Ctrl-C takes everything away")
