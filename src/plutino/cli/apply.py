"""`plutino apply`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from plutino.cli import exit_codes
from plutino.cli.target import FILE, load_target, print_json, remember_source
from plutino.control.client import ask_daemon
from plutino.model.errors import PlaneError

if TYPE_CHECKING:
    from plutino.config.gateway import Gateway


@click.command(epilog="Example: plutino apply /etc/plutino/paris.toml")
@click.argument("file", type=FILE)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def apply(ctx: click.Context, file: Path, as_json: bool) -> None:
    """Make everything as FILE says, as one transaction; a second time does nothing.

    Where a daemon serves the gateway, it is asked to read its file again. Exit code 3 if something
    has to wait, such as for a network namespace that is not there.
    """
    loaded, runtime = load_target(file, "")
    problems: tuple[str, ...] = ()
    daemon = ask_daemon(runtime.control_socket, "ping")
    if daemon is None:
        from plutino.daemon.passes import run_pass  # noqa: PLC0415 -- half a second to load

        result = run_pass(loaded, runtime)
        remember_source(runtime, file)
        steps = [step.to_json() for step in result.steps]
        problems = (*result.problems, *_without_daemon(loaded.gateway))
    else:
        if Path(daemon["file"]).resolve() != file.resolve():
            raise PlaneError(
                f"a daemon serves instance '{loaded.gateway.instance}' from {daemon['file']}",
                hint="apply that file, or stop the daemon first",
            )
        answer = ask_daemon(runtime.control_socket, "reload")
        steps, problems = answer["steps"], tuple(answer["problems"])
    for problem in problems:
        click.echo(f"plutino: warning: {problem}", err=True)
    if as_json:
        print_json({"version": 1, "steps": steps, "problems": problems})
    else:
        for step in steps:
            click.echo(f"{step['action']} {step['object']} ({step['why']})")
        if not steps:
            click.echo("nothing to do")
    ctx.exit(exit_codes.DEGRADED if problems else exit_codes.DONE)


def _without_daemon(gateway: Gateway) -> tuple[str, ...]:
    """What an apply alone leaves undone."""
    names = [name for name, tunnel in gateway.tunnels.items() if tunnel.ike is not None]
    if not names:
        return ()
    whose = f"'{names[0]}'" + (f" and {len(names) - 1} more" if len(names) > 1 else "")
    return (
        f"keys of tunnel {whose} are made by IKE, which only the daemon speaks: "
        "`plutino run FILE`, or `systemctl start plutino@NAME`",
    )
