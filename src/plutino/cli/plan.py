"""`plutino plan`."""

from pathlib import Path

import click

from plutino.cli.target import FILE, load_target, print_json
from plutino.control.client import ask_daemon


@click.command(epilog="Example: plutino plan /etc/plutino/paris.toml")
@click.argument("file", type=FILE)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plan(file: Path, as_json: bool) -> None:
    """Print what `plutino apply FILE` will do, step by step. Changes nothing."""
    loaded, runtime = load_target(file, "")
    daemon = ask_daemon(runtime.control_socket, "ping")
    if daemon is not None and Path(daemon["file"]).resolve() == file.resolve():
        answer = ask_daemon(runtime.control_socket, "plan")  # it knows the keys of IKE
        told, words, problems = answer["steps"], answer["words"], answer["problems"]
    else:
        from plutino.daemon.passes import plan_pass  # noqa: PLC0415 -- half a second to load

        steps, found = plan_pass(loaded, runtime)
        told, words = [one.to_json() for one in steps], [one.describe() for one in steps]
        problems = list(found)
    if as_json:
        print_json({"version": 1, "steps": told, "problems": problems})
        return
    for step in words:
        click.echo(step)
    if not words:
        click.echo("nothing to do")
    for problem in problems:
        click.echo(f"warning: {problem}", err=True)
