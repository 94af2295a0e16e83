"""What must hold after a phase of the soak."""

from collections.abc import Mapping
from typing import Final

from benchmarks.soak.guests import GUEST
from benchmarks.soak.lab import SoakLab
from benchmarks.soak.report import PhaseReport
from benchmarks.soak.traffic import FORWARD_FIELDS, WIRE_FIELDS
from tests.support.engine_lab import DEVICE

_GROWTH_KIB: Final = 4096
"""What the second half may add to an engine's memory."""
_EXPECTED_DROPS: Final = {
    "direct": frozenset[str](),
    "tcp": frozenset[str](),
    # Copies and what is older than the window; what was under way when its SA went. The device
    # counts the former too, and in _judge_drops it must not count more.
    "bad wire": frozenset(
        {
            "XfrmInStateSeqError",
            "XfrmInNoStates",
            *(
                f"{device} {counter}"
                for device in (DEVICE, GUEST)
                for counter in ("rx_errors", "rx_dropped")
            ),
        }
    ),
}


def judge(report: PhaseReport, lab: SoakLab) -> None:
    """Fill in what was counted, and note in ``report.violations`` what must not have been."""
    _judge_streams(report, lab)
    _judge_wire(report, lab)
    for traffic in lab.traffic:
        if traffic.process.poll() not in (None, 0):
            report.violations.append(f"{traffic.role} has ended")
    for end in lab.ends.values():
        if end.process.poll() is not None:
            report.violations.append(f"engine {end.name} has ended")
            continue
        report.drops[end.name] = end.drops()
        _judge_drops(report, end.name)


def _judge_streams(report: PhaseReport, lab: SoakLab) -> None:
    for receiver in lab.receivers:
        counters = receiver.counters()
        for key in ("sent", "received", "twice", "corrupt"):
            setattr(report, key, getattr(report, key) + counters[key])
        report.gigabits_per_second += counters["octets"] * 8 / report.seconds / 1e9
    report.packets_per_second = int(report.received / report.seconds)
    report.gigabits_per_second = round(report.gigabits_per_second, 3)
    if report.twice or report.corrupt:
        report.violations.append(f"{report.twice} packets came twice, {report.corrupt} changed")
    if not report.received:
        report.violations.append("no packet arrived")
    if report.name == "direct" and report.received != report.sent:
        lost = report.sent - report.received
        report.violations.append(f"{lost} packets were lost on a good wire")


def _judge_wire(report: PhaseReport, lab: SoakLab) -> None:
    report.wire = {key: lab.tap.counters()[key] for key in WIRE_FIELDS}
    if lab.forwarder:
        report.wire |= {key: lab.forwarder.counters()[key] for key in FORWARD_FIELDS}
    if report.wire["clear"] or report.wire["marked"]:
        report.violations.append("something was readable on the wire")


def _judge_drops(report: PhaseReport, name: str) -> None:
    drops = report.drops[name]
    for counter in ("rx_errors", "rx_dropped"):
        if drops.get(f"{DEVICE} {counter}", 0) > drops.get("XfrmInStateSeqError", 0):
            report.violations.append(f"{name}: {counter} beyond sequence errors: {drops}")
    engines = {counter for counter in drops if not counter.startswith("kernel's")}
    for counter in sorted(engines - _EXPECTED_DROPS[report.name]):
        report.violations.append(f"{name}: {counter} {drops[counter]}")


def judge_memory(report: PhaseReport, memory: Mapping[str, list[int]]) -> None:
    """Note an engine whose memory (samples in KiB, by name) grew in the second half."""
    for name, samples in memory.items():
        if len(samples) < 8:
            continue
        tenth = max(1, len(samples) // 10)
        half = len(samples) // 2
        warm, middle, end = (
            max(part)
            for part in (
                samples[2 * tenth : 3 * tenth],
                samples[half : half + tenth],
                samples[-tenth:],
            )
        )
        report.memory_kib[name] = [warm, middle, end]
        if end - middle > _GROWTH_KIB:
            report.violations.append(f"engine {name} grew from {middle} to {end} KiB")
