"""`plutino plan`."""

from pathlib import Path

import click

from plutino.cli.target import FILE, load_target, print_json
from plutino.daemon.passes import plan_pass


@click.command(epilog="Example: plutino plan /etc/plutino/paris.toml")
@click.argument("file", type=FILE)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plan(file: Path, as_json: bool) -> None:
    """Print what `plutino apply FILE` will do, step by step. Changes nothing."""
    loaded, runtime = load_target(file, "")
    steps, problems = plan_pass(loaded, runtime)
    if as_json:
        found = {"steps": [step.to_json() for step in steps], "problems": list(problems)}
        print_json({"version": 1, **found})
        return
    for step in steps:
        click.echo(step.describe())
    if not steps:
        click.echo("nothing to do")
    for problem in problems:
        click.echo(f"warning: {problem}", err=True)
