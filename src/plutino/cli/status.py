"""`plutino status`."""

import time
from collections.abc import Iterator
from pathlib import Path

import click

from plutino.cli import exit_codes
from plutino.cli.target import FILE, load_target, print_json
from plutino.control.client import ask_daemon
from plutino.control.report import (
    GroupReport,
    IkeReport,
    SaReport,
    State,
    StatusReport,
    TunnelReport,
    encode_report,
    parse_report,
)
from plutino.dataplane.runtime import RuntimePaths
from plutino.model.drop_reason import LINK_DROP_MEANINGS
from plutino.model.instance import DEFAULT_INSTANCE
from plutino.model.traffic import EVERYTHING

_EXIT = {
    State.UP: exit_codes.DONE,
    State.DEGRADED: exit_codes.DEGRADED,
    State.DOWN: exit_codes.FAILED,
}
_EVERYTHING = {f"{one} - {one}" for one in EVERYTHING}
"""Selectors that go without saying."""
_SOME = 3
"""Packets that are no accident."""
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


@click.command(epilog="Examples: plutino status     plutino status --json | jq .tunnels")
@click.argument("file", type=FILE, required=False)
@click.option("--instance", default=DEFAULT_INSTANCE, help="Which one, if no FILE is given.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def status(ctx: click.Context, file: Path | None, instance: str, as_json: bool) -> None:
    """Show tunnels, SAs, counters and problems, with or without a daemon.

    Exit code 0 if all is up, 3 if something is missing, 1 if nothing runs.
    """
    report = _report(file, instance)
    if as_json:
        print_json(encode_report(report))
    else:
        for line in render(report, time.time()):
            click.echo(line)
    ctx.exit(_EXIT[report.state])


def _report(file: Path | None, instance: str) -> StatusReport:
    if file is None:
        runtime = RuntimePaths.of(instance)
        document = ask_daemon(runtime.control_socket, "status")
        if document is not None:
            return parse_report(document)
    loaded, runtime = load_target(file, instance)
    if file is not None:
        document = ask_daemon(runtime.control_socket, "status")
        if document is not None:
            return parse_report(document)
    from plutino.daemon.status import build_report  # noqa: PLC0415 -- half a second to load

    return build_report(loaded, runtime)


def render(report: StatusReport, now: float) -> list[str]:
    """The report as lines for people; ``now`` in seconds since the epoch."""
    engine = report.engine
    served = f"{report.plane}: no engine"
    if report.plane == "kernel":
        served = "kernel"
    elif engine is not None:
        served = f"{report.plane}: engine {engine.version}, pid {engine.pid}, {engine.crypto}"
    daemon = "no daemon" if report.daemon_pid is None else f"daemon pid {report.daemon_pid}"
    lines = [f"{report.instance}: {report.state} ({served}; {daemon})"]
    if report.plane_reason:
        lines.append(f"  data plane: {report.plane}, {report.plane_reason}")
    lines += [f"  problem: {problem}" for problem in report.problems]
    if engine is not None and engine.lost_notifications:
        lines.append(f"  {engine.lost_notifications} x notification lost: a listener was too slow")
    lines += map(_render_group, report.groups)
    shares = _shares(report.groups)
    for tunnel in report.tunnels:
        lines += _render_tunnel(tunnel, now, served=report.daemon_pid is not None)
        if tunnel.name not in shares:
            lines += _render_one_way(tunnel)
    lines += [f"  {drop.packets} x {drop.name}: {drop.meaning}" for drop in report.drops]
    return lines


def _shares(groups: tuple[GroupReport, ...]) -> set[str]:
    """Tunnels that carry a part of a site's flows; what comes back may have another's."""
    return {
        one.tunnel
        for group in groups
        if len(group.active) > 1
        for one in group.members
        if one.active
    }


def _render_group(group: GroupReport) -> str:
    members = ", ".join(f"{one.tunnel} {one.health}" for one in group.members)
    active = " and ".join(group.active) or "none"
    return f"  group {group.name}: {group.mode}, active {active} ({members})"


def _render_tunnel(tunnel: TunnelReport, now: float, *, served: bool) -> list[str]:
    how = "ESP in UDP" if tunnel.encapsulation == "udp" else "ESP"
    number = f"if_id {tunnel.if_id}, " if tunnel.if_id else ""  # a VTI has none
    lines = [
        f"  {tunnel.name}: {tunnel.state}, {tunnel.interface} ({number}mtu {tunnel.mtu}), "
        f"{tunnel.local} - {tunnel.remote}, {how}{_render_path(tunnel)}"
    ]
    if tunnel.ike is not None:
        lines.append(_render_ike(tunnel.ike, served=served))
    if set(tunnel.selectors) - _EVERYTHING:
        lines += [f"    for {pair}" for pair in tunnel.selectors]
    lines += [f"    to be done: {step}" for step in tunnel.missing]
    lines += [_render_sa(sa, now) for sa in tunnel.sas]
    lines += [
        f"    {count} x {name}: {LINK_DROP_MEANINGS[name]}"
        for name, count in tunnel.link.items()
        if name in LINK_DROP_MEANINGS
    ]
    return lines


def _render_ike(ike: IkeReport, *, served: bool) -> str:
    if not served:
        words = "no daemon runs, and it alone speaks IKE: `plutino run FILE`"
        return f"    IKE {ike.state}: {words}"
    since = f" for {_age(ike.age)}" if ike.state == "up" else ""
    failure = f": {ike.failure}" if ike.failure else ""
    suite = f", {ike.suite}" if ike.suite else ""
    weak = f" (WEAK: {', '.join(ike.weak)})" if ike.weak else ""
    ends = f", {ike.local_id} - {ike.remote_id}" if ike.local_id else ""
    return f"    IKE {ike.state}{since}{ends}{suite}{weak}{failure}"


def _render_one_way(tunnel: TunnelReport) -> Iterator[str]:
    """What counters tell of a tunnel that is up and carries packets in one direction alone."""
    sent, received = (
        sum(sa.packets for sa in tunnel.sas if sa.direction == direction)
        for direction in ("out", "in")
    )
    if tunnel.state is not State.UP or (sent >= _SOME) == (received >= _SOME):
        return
    if received == 0:
        udp = "" if tunnel.encapsulation == "udp" else ', for which `encapsulation = "udp"` helps'
        yield (
            "    ONE WAY: packets leave, and none has come back: if nothing arrives at the peer "
            f"either, ESP is dropped on the way{udp}; else nobody answers there"
        )
    elif sent == 0:
        yield (
            "    ONE WAY: packets come in, and none has left: is forwarding on, and do the answers "
            "come this way? `plutino doctor FILE` looks"
        )


def _render_path(tunnel: TunnelReport) -> str:
    uplink = f", uplink {tunnel.uplink}" if tunnel.uplink else ""
    return f"{uplink}, {tunnel.standby} more usable" if tunnel.standby else uplink


def _render_sa(sa: SaReport, now: float) -> str:
    used = f", first used {_age(now - sa.first_used)} ago" if sa.first_used else ", never used"
    words = (
        f"    {sa.direction:<3} {sa.spi} {sa.packets:>9} packets {_octets(sa.octets):>10}, "
        f"sequence {sa.sequence}{used}"
    )
    if sa.replay_drops:
        words += f", {sa.replay_drops} replayed"
    if sa.integrity_failures:
        words += f", {sa.integrity_failures} forged or with another key"
    return words


def _octets(number: float) -> str:
    for unit in _UNITS:
        if number < 1024 or unit == _UNITS[-1]:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    raise AssertionError("the last unit takes everything")


def _age(seconds: float) -> str:
    whole = max(0, int(seconds))
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min"
    return f"{whole // 3600} h"
