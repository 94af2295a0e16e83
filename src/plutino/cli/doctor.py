"""`plutino doctor`."""

from dataclasses import asdict

import click

from plutino.cli.target import print_json
from plutino.dataplane.choice import KERNEL, PlaneChoice, choose_by
from plutino.dataplane.probe import KernelReport, probe_kernel


@click.command(epilog="Examples: plutino doctor     plutino doctor --json | jq .choice.plane")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> None:
    """Try what this machine's kernel can do as a data plane, and say what `auto` would choose.

    Everything is tried in network namespaces that nobody sees and that end at once; the kernel may
    load its modules.
    """
    report = probe_kernel()
    choice = choose_by(report)
    if as_json:
        print_json({"version": 1, **report.to_json(), "choice": asdict(choice)})
        return
    for line in render(report, choice):
        click.echo(line)


def render(report: KernelReport, choice: PlaneChoice) -> list[str]:
    """The report as lines for people. Pure."""
    lines = [f"Linux {report.release}"]
    width = max(len(one.feature.value) for one in report.findings)
    for one in report.findings:
        answer = "yes" if one.supported else "NO " if one.needed else "no "
        words = "" if one.supported else f"{one.words}; needs {one.option}"
        lines.append(f"  {answer}  {one.feature.value:<{width}}  {words}".rstrip())
    engine = "" if choice.plane == KERNEL else "; the engine in user space needs /dev/net/tun alone"
    return [*lines, f"data plane: {choice.plane}, {choice.why}{engine}"]
