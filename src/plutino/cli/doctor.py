"""`plutino doctor`."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import click

from plutino.cli.target import FILE, load_target, print_json
from plutino.config.files import LoadedGateway
from plutino.daemon.certificate_findings import certificates_that_end_soon, current_time
from plutino.daemon.findings import find_problems, settings_in_force, settings_to_know
from plutino.daemon.passes import compile_desired, open_routes
from plutino.daemon.way_findings import blocking_policies, ways_of_others
from plutino.dataplane.choice import AUTO, KERNEL, PlaneChoice, choose_by, current_choice
from plutino.dataplane.probe.attempts import probe_kernel
from plutino.dataplane.probe.report import KernelReport
from plutino.dataplane.runtime import RuntimePaths
from plutino.desired.demands import demands_of
from plutino.model.errors import PlaneError
from plutino.model.feature import PLAIN_TUNNEL, Demands, Feature
from plutino.model.probe import NOTHING_LOST

_FEW = 3
"""So many keys are named for a feature that a file asks for."""
_ENGINE = "; the engine in user space needs /dev/net/tun alone"


@click.command(
    epilog="Examples: plutino doctor     plutino doctor paris.toml     "
    "plutino doctor --json | jq .choice.plane"
)
@click.argument("file", type=FILE, required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(file: Path | None, as_json: bool) -> None:
    """Try what this machine's kernel can do as a data plane, and say what `auto` would choose.

    With FILE, say what that gateway needs, and the choice for it. Everything is tried in a network
    namespace that nobody sees and that ends at once; the kernel may load its modules.
    """
    loaded, demands, configured = None, PLAIN_TUNNEL, AUTO
    serving: PlaneChoice | None = None
    problems: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    if file is not None:
        loaded, runtime = load_target(file, "")
        configured = loaded.gateway.data_plane
        demands, serving, problems, hints = _look(loaded, runtime)
    report = probe_kernel()
    problem, choice = None, None
    try:
        choice = choose_by(configured, demands, report)
    except PlaneError as error:
        problem = error
    if as_json:
        print_json(
            {
                "version": 1,
                **report.to_json(),
                "needs": [asdict(one) for one in demands.requirements],
                "only": [asdict(one) for one in demands.bindings],
                "choice": None if choice is None else asdict(choice),
                "problem": None if problem is None else str(problem),
                "problems": list(problems),
                "hints": list(hints),
            }
        )
    else:
        for line in render(report, demands, choice, file):
            click.echo(line)
        if loaded is not None and serving is not None:
            name = loaded.gateway.instance
            click.echo(f"instance '{name}' is on the {serving.plane} plane until `plutino down`")
        for words in problems:
            click.echo(f"in the way of {file}: {words}")
        for words in hints:
            click.echo(f"note: {words}")
    if problem is not None:
        raise problem


def _look(
    loaded: LoadedGateway, runtime: RuntimePaths
) -> tuple[Demands, PlaneChoice | None, tuple[str, ...], tuple[str, ...]]:
    """What a gateway asks for, its plane if it is served, what is in its way, what to know."""
    with open_routes(runtime, loaded.gateway) as routes:
        desired = compile_desired(loaded, routes, {}, NOTHING_LOST)
        serving = current_choice(loaded.gateway.instance, runtime, routes)
        problems = find_problems(loaded, desired, routes)
        hints = settings_to_know(loaded.gateway, routes)
        if serving is not None:
            ways, parts = ways_of_others(loaded.gateway, routes)
            problems += settings_in_force(loaded.gateway, serving, routes) + ways
            hints += parts
        problems += blocking_policies(loaded.gateway)
        hints += certificates_that_end_soon(loaded, current_time())
    return demands_of(loaded.gateway, desired), serving, problems, hints


def render(
    report: KernelReport, demands: Demands, choice: PlaneChoice | None, file: Path | None = None
) -> list[str]:
    """The report as lines for people. Pure."""
    needed = {one.feature for one in demands.requirements}
    width = max(len(one.feature.value) for one in report.findings)
    lines = [f"Linux {report.release}"]
    for one in report.findings:
        answer = "yes" if one.supported else "NO " if one.feature in needed else "no "
        words = one.words
        if one.words and not one.words.startswith("not tried"):
            words = f"{one.words}; needs {one.cure}"
        lines.append(f"  {answer}  {one.feature.value:<{width}}  {words}".rstrip())
    if file is not None:
        lines += _render_demands(report, demands, file, width)
    if choice is not None:
        engine = "" if choice.plane == KERNEL else _ENGINE
        lines.append(f"data plane: {choice.plane}, {choice.why}{engine}")
    return lines


def _render_demands(
    report: KernelReport, demands: Demands, file: Path, width: int
) -> Iterator[str]:
    yield f"{file} asks for"
    keys: dict[Feature, list[str]] = {}
    for one in demands.requirements:
        keys.setdefault(one.feature, []).append(one.key)
    for feature, users in keys.items():
        answer = "yes" if report.find(feature).supported else "NO "
        more = f" and {len(users) - _FEW} more" if len(users) > _FEW else ""
        yield f"  {answer}  {feature.value:<{width}}  {', '.join(users[:_FEW])}{more}"
    for binding in demands.bindings:
        yield f"  {binding.plane} alone: {binding.key}: {binding.why}"
