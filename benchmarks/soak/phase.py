"""One phase of the soak: two new engines, their traffic, and what is done to them."""

import itertools
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from benchmarks.iperf import measure
from benchmarks.soak.ends import INNER, End
from benchmarks.soak.guests import guests
from benchmarks.soak.judgement import judge, judge_memory
from benchmarks.soak.lab import QUIET, SoakLab
from benchmarks.soak.report import PhaseReport, SoakOptions
from benchmarks.soak.traffic import build_traffic
from benchmarks.soak.tunnel import Tunnel
from plutino.model.errors import PlaneError, PlutinoError
from tests.support.engine_lab import IF_ID, ONE, TWO


class Phase:
    """One phase: two new engines, their traffic, and what is done to them."""

    def __init__(self, name: str, options: SoakOptions, folder: Path, program: Path) -> None:
        self._options = options
        self._seconds = options.phases[name]
        self._folder = folder
        self._program = program
        self._spis = itertools.count(0x1000)
        self.report = PhaseReport(name)

    def run(self) -> PhaseReport:
        """From an empty lab to an empty lab."""
        report = self.report
        with ExitStack() as stack:
            bad, patience = report.name == "bad wire", 1000 if report.name == "direct" else 20
            lab = SoakLab(stack, self._folder, self._program, bad=bad, patience=patience)
            tunnel = Tunnel(lab.ends, IF_ID, self._spis)
            tunnel.install()
            lab.start_traffic()
            memory: dict[str, list[int]] = {name: [] for name in lab.ends}
            started = time.monotonic()
            try:
                self._live(lab, tunnel, memory)
            except (PlutinoError, OSError, subprocess.CalledProcessError) as error:
                report.violations.append(f"{type(error).__name__}: {error}")
            report.seconds = round(time.monotonic() - started, 1)
            for sender in lab.senders:
                sender.hush()
            time.sleep(QUIET)
            judge(report, lab)
            judge_memory(report, memory)
        return report

    def _live(self, lab: SoakLab, tunnel: Tunnel, memory: dict[str, list[int]]) -> None:
        options = self._options
        tcp = self._start_tcp(lab.ends) if self.report.name == "tcp" else None
        started = time.monotonic()
        next_rekey = started + options.rekey
        next_guest = started + options.guest / 2
        next_look = started
        guest_steps = guests(lab.ends, self._spis, self.report)
        while (now := time.monotonic()) < started + self._seconds:
            if now >= next_rekey:
                tunnel.rekey(options.grace)
                self.report.rekeys += 1
                next_rekey += options.rekey
            tunnel.tidy()
            if now >= next_guest:
                next(guest_steps)
                next_guest = time.monotonic() + options.guest / 4
            if now >= next_look:
                next_look = now + max(0.05, min(1.0, self._seconds / 100))
                self._look(lab, memory)
            time.sleep(0.002)
        # The last guest goes with the lab, unless it is gone already.
        while tunnel.leaving:
            tunnel.tidy()
            time.sleep(0.01)
        if tcp is not None:
            tcp()

    @staticmethod
    def _look(lab: SoakLab, memory: dict[str, list[int]]) -> None:
        for end in lab.ends.values():
            memory[end.name].append(end.memory())
            if end.process.poll() is not None:
                raise PlaneError(f"engine {end.name} has ended")
        for receiver in lab.receivers:
            counters = receiver.counters()
            if counters["twice"] or counters["corrupt"] or receiver.process.poll() is not None:
                raise PlaneError(f"a stream is broken: {counters}")

    def _start_tcp(self, ends: Mapping[str, End]) -> Callable[[], None]:
        def work() -> None:
            seconds = max(1, int(self._seconds - 1))
            hosts = ends[ONE].host, ends[TWO].host
            rate = measure(*hosts, INNER[TWO], seconds)
            self.report.tcp_gigabits_per_second = round(rate, 2)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        return thread.join


def soak(
    options: SoakOptions, folder: Path, tell: Callable[[str], None] = lambda _: None
) -> list[PhaseReport]:
    """Run the phases one after the other in a folder with a short path."""
    program = build_traffic(folder)
    reports = []
    for name in options.phases:
        tell(f"{name}: {options.phases[name]:.0f} s")
        report = Phase(name, options, folder / name.replace(" ", "-"), program).run()
        tell(f"{name}: {report.packets_per_second} packets/s, {len(report.violations)} violations")
        reports.append(report)
    return reports
