"""The daemon: one pass after another, at each change and from time to time.

It holds nothing that a new daemon could not make again: what exists is in the kernel and in the
engine, what should exist in the file, and another process holds the sockets for the kernel's ESP
in UDP. So it can be killed at any moment.
"""

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

from plutino.config.files import LoadedGateway
from plutino.control.server import ControlServer
from plutino.daemon.key_log import WARNING, KeyLog
from plutino.daemon.lock import take_daemon_lock
from plutino.daemon.log import log
from plutino.daemon.problem_log import ALL_IS_SET_UP
from plutino.daemon.reconciler import Reconciler
from plutino.daemon.rekeying import follows_from_children
from plutino.daemon.requests import Requests
from plutino.daemon.sequence_saver import SequenceSaver
from plutino.daemon.service_manager import notify, watchdog_interval
from plutino.daemon.wake import Wake
from plutino.daemon.watches import Watches
from plutino.dataplane.runtime import RuntimePaths
from plutino.model.errors import PlutinoError

_LONGEST_BACK_OFF: Final = 10.0
"""Seconds until the next pass where passes fail, doubled each time."""


class Daemon:
    """Keeps one gateway as its file says, until it is told to stop."""

    def __init__(
        self,
        path: Path,
        loaded: LoadedGateway,
        runtime: RuntimePaths,
        key_log: KeyLog | None = None,
    ) -> None:
        self._runtime = runtime
        self._key_log = key_log
        self._stopping = False
        self._wake = Wake()
        self._watches = Watches(runtime, self._wake)
        self._reconciler = Reconciler(loaded, runtime, self._wake, self._watches, key_log)
        instance, pace = loaded.gateway.instance, self._reconciler.pace
        self._saver = SequenceSaver(instance, runtime, pace, self._reconciler.in_thread)
        self._requests = Requests(
            path, runtime, self._reconciler, self._watches, self._saver, stop=self._stop
        )

    async def run(self) -> None:
        """Serve until SIGTERM, SIGINT or a request to stop; tunnels stay up.

        Raises PlutinoError if another daemon runs, or if the first pass fails.
        """
        self._runtime.create()
        if self._key_log is not None:
            log(f"warning: {WARNING.format(path=self._key_log.path)}")
        lock = take_daemon_lock(self._runtime)
        server = ControlServer(self._runtime.control_socket, self._requests.answer)
        try:
            self._watches.open()
            result = await self._reconciler.start()
            gateway = self._reconciler.loaded.gateway
            log(f"ready: tunnels {len(gateway.tunnels)}, steps {len(result.steps)}")
            self._heed_signals()
            self._watches.open_netfilter(gateway.instance)
            await server.start()
            notify("READY=1", ALL_IS_SET_UP)
            saver = asyncio.create_task(self._save_from_time_to_time())
            try:
                await self._serve()
            finally:
                saver.cancel()
        finally:
            notify("STOPPING=1")
            self._reconciler.close()
            self._watches.close()
            await server.close()
            with suppress(PlutinoError):
                self._saver.save()
            os.close(lock)

    def _heed_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop)
        loop.add_signal_handler(signal.SIGINT, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._requests.reload_by_signal)

    async def _serve(self) -> None:
        while not self._stopping:
            await self._wait()
            if self._stopping:
                return
            try:
                result = await self._reconciler.make_pass()
            except PlutinoError as error:
                self._reconciler.problem_log.failed(error)
                continue
            for step in result.steps:
                if self._reconciler.ike is None or not follows_from_children(step):
                    log(f"healed: {step.describe()}")

    async def _wait(self) -> None:
        """For a change, or for the time of the next check."""
        pace, failures = self._reconciler.pace, self._reconciler.problem_log.failures
        interval = pace.check_interval
        if failures:
            interval = min(0.25 * 2**failures, _LONGEST_BACK_OFF)
        watchdog = watchdog_interval()
        try:
            await asyncio.wait_for(self._wake.wait(), min(interval, watchdog or interval))
        except TimeoutError:
            pace.was_calm()
        _tell_watchdog()
        if not self._stopping:
            await asyncio.sleep(pace.settling_time)
            await self._wake.rest(pace, _tell_watchdog)
        self._wake.clear()

    async def _save_from_time_to_time(self) -> None:
        while True:
            await self._saver.rest()
            self._watches.look_at_namespaces()
            await self._saver.look(self._reconciler.problem_log.problems)

    def _stop(self) -> None:
        log("stopping; the tunnels stay up (`plutino down` takes them away)")
        self._stopping = True
        self._wake.set_in_haste()


def _tell_watchdog() -> None:
    if watchdog_interval() is not None:
        notify("WATCHDOG=1")
