"""The daemon: one pass after another, at each change and from time to time.

It holds nothing that a new daemon could not make again: what exists is in the kernel and in the
engine, what should exist in the file, and another process holds the sockets for the kernel's ESP
in UDP. So it can be killed at any moment.
"""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from plutino.config.files import LoadedGateway, load_gateway
from plutino.control.protocol import Answer, Request
from plutino.control.report import encode_report
from plutino.control.server import ControlServer
from plutino.daemon.health_store import load_ways, save_ways
from plutino.daemon.ike_status import NO_IKE
from plutino.daemon.key_log import WARNING, KeyLog
from plutino.daemon.lock import take_daemon_lock
from plutino.daemon.log import log
from plutino.daemon.names import Names
from plutino.daemon.namespaces import NamespaceWatch
from plutino.daemon.netfilter_watch import NetfilterWatch
from plutino.daemon.pace import Pace
from plutino.daemon.passes import (
    NO_CHILDREN,
    Children,
    PassResult,
    namespace_names,
    plan_pass,
    run_pass,
)
from plutino.daemon.plane_events import hear_for_ike
from plutino.daemon.prober import Prober
from plutino.daemon.rekeying import Settled, follows_from_children, install_children
from plutino.daemon.sequence_saver import SequenceSaver
from plutino.daemon.service_manager import notify, watchdog_interval
from plutino.daemon.status import build_report
from plutino.daemon.wake import Wake
from plutino.dataplane.choice import KERNEL, PlaneChoice, open_events
from plutino.dataplane.held_sockets import HeldSockets
from plutino.dataplane.runtime import RuntimePaths
from plutino.desired.health import Health
from plutino.desired.remotes import with_remotes
from plutino.ike_process.collector import spare_what_is_there, without_collection
from plutino.model.errors import ConfigError, PlaneError, PlutinoError
from plutino.netlink.route_events import route_event_socket
from plutino.netlink.socket import NetlinkSocket, NotificationsLostError
from plutino.netlink.wire import Message

if TYPE_CHECKING:
    from plutino.daemon.ike_service import IkeService

_SETTLE: Final = 0.02
"""Seconds to wait for more events of the same change."""
_CALM: Final = 0.5
"""Seconds to wait instead when events came that often and there was nothing to do."""
_PATIENCE: Final = 10
"""Passes in a row without a step; others may change much that is not ours."""
_LONGEST_BACK_OFF: Final = 10.0
_MOST_AT_ONCE: Final = 256
"""Messages of the data plane that are read in a row, before others have their turn."""

_Value = TypeVar("_Value")


class Daemon:
    """Keeps one gateway as its file says, until it is told to stop."""

    def __init__(
        self,
        path: Path,
        loaded: LoadedGateway,
        runtime: RuntimePaths,
        key_log: KeyLog | None = None,
    ) -> None:
        self._path = path
        self._loaded = loaded
        self._runtime = runtime
        self._key_log = key_log
        self._problems: tuple[str, ...] = ()
        self._wake = Wake()
        self._one_at_a_time = asyncio.Lock()
        self._stopping = False
        self._plane_events: NetlinkSocket | None = None
        self._namespaces = NamespaceWatch(self._wake.set)
        self._prober = Prober(Health(load_ways(runtime.health).lost), self._hear_prober)
        self._netfilter = NetfilterWatch(self._wake.set_in_haste)
        self._holder: socket.socket | None = None
        self._idle_passes = 0
        self._failures = 0
        self._ike: IkeService | None = None
        self._names = Names(log, self._wake.set)
        self._settled: Settled | None = None
        self._pace = Pace()
        instance = loaded.gateway.instance
        self._saver = SequenceSaver(instance, runtime, self._pace, self._in_thread)

    async def run(self) -> None:
        """Serve until SIGTERM, SIGINT or a request to stop; tunnels stay up.

        Raises PlutinoError if another daemon runs, or if the first pass fails.
        """
        self._runtime.create()
        if self._key_log is not None:
            log(f"warning: {WARNING.format(path=self._key_log.path)}")
        lock = take_daemon_lock(self._runtime)
        events = route_event_socket()
        server = ControlServer(self._runtime.control_socket, self._answer)
        loop = asyncio.get_running_loop()
        try:
            self._ike = await self._new_ike()
            result = await self._pass()
            if self._ike is not None:
                self._ike.start(on_kernel=result.choice.plane == KERNEL)
                self._pace.installed()  # IKE's handshakes come first
            spare_what_is_there()
            log(f"ready: tunnels {len(self._loaded.gateway.tunnels)}, steps {len(result.steps)}")
            for number, handler in (
                (signal.SIGTERM, self._stop),
                (signal.SIGINT, self._stop),
                (signal.SIGHUP, self._reload_by_signal),
            ):
                loop.add_signal_handler(number, handler)
            loop.add_reader(events.fileno(), self._drain, events)
            self._netfilter.watch(self._loaded.gateway.instance)
            await server.start()
            notify("READY=1", "STATUS=all tunnels are set up")
            saver = asyncio.create_task(self._save_from_time_to_time())
            try:
                await self._serve()
            finally:
                saver.cancel()
        finally:
            notify("STOPPING=1")
            loop.remove_reader(events.fileno())
            events.close()
            if self._ike is not None:
                self._ike.close()
            self._let_go_of_plane()
            self._netfilter.close()
            self._namespaces.close()
            self._names.close()
            self._prober.close()
            self._let_go_of_holder()
            await server.close()
            with suppress(PlutinoError):
                self._saver.save()
            os.close(lock)

    async def _serve(self) -> None:
        while not self._stopping:
            await self._wait()
            if self._stopping:
                return
            try:
                result = await self._pass()
            except PlutinoError as error:
                self._failed(error)
                continue
            self._failures = 0
            for step in result.steps:
                if self._ike is None or not follows_from_children(step):
                    log(f"healed: {step.describe()}")

    async def _wait(self) -> None:
        """For a change, or for the time of the next check."""
        interval = self._pace.check_interval
        if self._failures:
            interval = min(0.25 * 2**self._failures, _LONGEST_BACK_OFF)
        watchdog = watchdog_interval()
        try:
            await asyncio.wait_for(self._wake.wait(), min(interval, watchdog or interval))
        except TimeoutError:
            self._idle_passes = 0
        _tell_watchdog()
        if not self._stopping:
            await asyncio.sleep(_CALM if self._idle_passes > _PATIENCE else _SETTLE)
            await self._wake.rest(self._pace, _tell_watchdog)
        self._wake.clear()

    def _failed(self, error: PlutinoError) -> None:
        self._failures += 1
        words = str(error)
        if self._problems != (words,):
            log(f"error: {words}")
            if error.hint:
                log(f"hint: {error.hint}")
        self._problems = (words,)
        notify(f"STATUS=degraded: {words.splitlines()[0]}")

    async def _pass(self) -> PassResult:
        result = await self._in_thread(self._run_pass)
        self._watch_plane(result.choice)
        self._namespaces.watch(namespace_names(self._loaded.gateway))
        self._names.watch(self._loaded.gateway, self._children(self._loaded))
        self._watch_holder()
        self._prober.watch(result.probes)
        if self._ike is not None:
            self._ike.go_by(result.ways)
        for problem in result.problems:
            if problem not in self._problems:
                log(f"warning: {problem}")
        if self._problems and not result.problems:
            log("all is well again")
            notify("STATUS=all tunnels are set up")
        self._problems = result.problems
        self._idle_passes = 0 if result.steps else self._idle_passes + 1
        return result

    async def _reload_ike(self, result: PassResult) -> None:
        """The peers of the file as it is now."""
        if self._ike is not None:
            self._ike.reload(self._loaded)
            self._ike.open_sockets(on_kernel=result.choice.plane == KERNEL)
        elif (ike := await self._new_ike()) is not None:
            self._ike = ike
            self._let_go_of_plane()
            self._watch_plane(result.choice)
            ike.go_by(result.ways)
            ike.start(on_kernel=result.choice.plane == KERNEL)

    def _run_pass(self) -> PassResult:
        """With the CHILD_SAs as they are when its turn has come."""
        self._settled = None
        children = self._children(self._loaded)
        located = self._located(self._loaded, children)
        began = time.monotonic()
        result = run_pass(located, self._runtime, children)
        self._pace.passed(began)
        self._settled = Settled(located.gateway, result.choice, result.ways, dict(children))
        return result

    def _children(self, loaded: LoadedGateway) -> Children:
        return NO_CHILDREN if self._ike is None else self._ike.children(loaded.gateway)

    def _located(self, loaded: LoadedGateway, children: Children) -> LoadedGateway:
        """With the addresses of peers that may be anywhere, as far as they are known."""
        gateway = with_remotes(loaded.gateway, children, self._names.resolved)
        return replace(loaded, gateway=gateway)

    async def _new_ike(self) -> "IkeService | None":
        if all(tunnel.ike is None for tunnel in self._loaded.gateway.tunnels.values()):
            return None
        from plutino.daemon.ike_service import IkeService  # noqa: PLC0415 -- slow to load

        ike = IkeService(self._loaded, self._runtime, self._install, log, self._key_log)
        await ike.take_up()
        return ike

    async def _install(self, changed: frozenset[str], in_force: Callable[[], None]) -> None:
        """Makes the plane as IKE wants it, or says why not."""
        try:
            if await self._in_thread(partial(self._install_alone, changed, in_force)):
                self._wake.set()
            else:
                await self._pass()
        except PlutinoError as error:
            self._failed(error)
            self._wake.set()

    def _install_alone(self, changed: frozenset[str], in_force: Callable[[], None]) -> bool:
        """Without a look at anything else; whether all of it could be done so."""
        settled, self._settled = self._settled, None
        if settled is None or self._ike is None:
            return False
        children = self._ike.children_of(changed)
        try:
            installed = install_children(settled, self._runtime, children, in_force)
        except PlutinoError:
            return False  # the pass that follows finds out why
        self._settled = settled
        self._pace.installed(has_ended=installed.has_ended)
        return installed.is_all

    async def _in_thread(self, work: Callable[[], _Value]) -> _Value:
        """Blocking work, one piece at a time, while the loop goes on answering."""
        async with self._one_at_a_time:
            return await asyncio.get_running_loop().run_in_executor(None, without_collection, work)

    # --- what wakes it

    def _drain(self, events: NetlinkSocket) -> None:
        with suppress(NotificationsLostError):
            events.skip()
        self._wake.set()

    def _watch_plane(self, choice: PlaneChoice) -> None:
        """A connection that tells of changes by others, and ends with the engine."""
        if self._plane_events is not None:
            return
        self._plane_events = open_events(choice, self._runtime, for_ike=self._ike is not None)
        loop = asyncio.get_running_loop()
        loop.add_reader(self._plane_events.fileno(), self._hear_plane, self._plane_events)
        if self._ike is not None:
            self._ike.follow_plane()

    def _hear_plane(self, events: NetlinkSocket) -> None:
        messages: list[Message] = []
        is_change = False
        try:
            while len(messages) < _MOST_AT_ONCE and (received := events.receive(0)):
                messages += received
        except NotificationsLostError:
            is_change = True
        except PlaneError:
            is_change = True
            log("the engine has ended: it is started again")
            self._let_go_of_plane()
            self._wake.set_in_haste()
        if not hear_for_ike(self._ike, messages) or is_change:
            self._wake.set()

    def _let_go_of_plane(self) -> None:
        if self._plane_events is not None:
            asyncio.get_running_loop().remove_reader(self._plane_events.fileno())
            self._plane_events.close()
            self._plane_events = None

    def _watch_holder(self) -> None:
        """A connection that ends with the holder of the sockets, if there is one."""
        if self._holder is None:
            with suppress(PlaneError):
                self._holder = HeldSockets(self._runtime.holder_socket).watch()
            if self._holder is not None:
                asyncio.get_running_loop().add_reader(self._holder, self._hear_holder)
                if self._ike is not None:
                    self._ike.open_sockets(on_kernel=True)

    def _hear_prober(self) -> None:
        save_ways(self._runtime.health, self._prober.health.state)
        self._wake.set_in_haste()

    def _hear_holder(self) -> None:
        log("the process that held UDP port 4500 has ended")
        self._let_go_of_holder()
        if self._ike is not None:
            self._ike.let_go_of_held()
        self._wake.set_in_haste()

    def _let_go_of_holder(self) -> None:
        if self._holder is not None:
            asyncio.get_running_loop().remove_reader(self._holder)
            self._holder.close()
            self._holder = None

    def _stop(self) -> None:
        log("stopping; the tunnels stay up (`plutino down` takes them away)")
        self._stopping = True
        self._wake.set_in_haste()

    def _reload_by_signal(self) -> None:
        task = asyncio.ensure_future(self._reload())
        task.add_done_callback(_log_failure)

    async def _save_from_time_to_time(self) -> None:
        while True:
            await self._saver.rest()
            if self._namespaces.changed():
                self._wake.set()
            await self._saver.look(self._problems)

    # --- what it is asked

    async def _answer(self, request: Request) -> Answer:
        match request.method:
            case "ping":
                return Answer({"pid": os.getpid(), "file": str(self._path)})
            case "status":
                return Answer(await self._in_thread(self._status))
            case "plan":
                return Answer(await self._in_thread(self._plan))
            case "reload":
                result = await self._reload()
                steps = [step.to_json() for step in result.steps]
                return Answer({"steps": steps, "problems": list(result.problems)})
            case "stop":  # for good, unlike by a signal: peers are told
                if self._ike is not None:
                    await self._ike.leave()
                asyncio.get_running_loop().call_soon(self._stop)
                return Answer(True)
        return Answer(error=f"unknown method {request.method}")

    def _status(self) -> dict[str, object]:
        told = (*self._problems, *self._saver.problems, *self._names.problems)
        ike = NO_IKE if self._ike is None else self._ike.state()
        report = build_report(
            self._located(self._loaded, ike.children),
            self._runtime,
            daemon_pid=os.getpid(),
            problems=tuple(dict.fromkeys(told)),
            unanswered=self._prober.health.unanswered,
            ike=ike,
        )
        return encode_report(report)

    def _plan(self) -> dict[str, object]:
        """What a reload would do, with the CHILD_SAs that there are."""
        loaded = load_gateway(self._path)
        children = self._children(loaded)
        loaded = self._located(loaded, children)
        steps, problems = plan_pass(loaded, self._runtime, children)
        words = [step.describe() for step in steps]
        told = [step.to_json() for step in steps]
        return {"steps": told, "words": words, "problems": list(problems)}

    async def _reload(self) -> PassResult:
        """Read the file again and make it so; a broken one leaves everything as it is."""
        notify("RELOADING=1")
        try:
            loaded = await self._in_thread(lambda: load_gateway(self._path))
            if loaded.gateway.instance != self._loaded.gateway.instance:
                raise ConfigError.single(
                    str(self._path),
                    "instance",
                    f"was '{self._loaded.gateway.instance}' when the daemon started",
                    "`plutino down`, then start it again",
                )
            before, self._loaded = self._loaded, loaded
            try:
                result = await self._pass()
                self._names.ask_again()
                await self._reload_ike(result)
                spare_what_is_there()
                return result
            except PlutinoError:
                self._loaded = before
                self._wake.set()
                raise
        finally:
            notify("READY=1")


def _tell_watchdog() -> None:
    if watchdog_interval() is not None:
        notify("WATCHDOG=1")


def _log_failure(task: "asyncio.Future[PassResult]") -> None:
    error = task.exception()
    if error is not None:
        log(f"error: the file was not taken over: {error}")
