"""What the daemon is asked: by commands through the control socket, and by SIGHUP."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from plutino.config.files import load_gateway
from plutino.control.protocol import Answer, Request
from plutino.control.report import encode_report
from plutino.daemon.ike_status import NO_IKE
from plutino.daemon.log import log
from plutino.daemon.passes import PassResult, plan_pass
from plutino.daemon.reconciler import Reconciler
from plutino.daemon.sequence_saver import SequenceSaver
from plutino.daemon.service_manager import notify
from plutino.daemon.status import build_report
from plutino.daemon.watches import Watches
from plutino.dataplane.runtime import RuntimePaths
from plutino.model.errors import ConfigError


class Requests:
    """Answers from what the parts of the daemon know; ``path`` is the file, ``stop`` ends it."""

    def __init__(
        self,
        path: Path,
        runtime: RuntimePaths,
        reconciler: Reconciler,
        watches: Watches,
        saver: SequenceSaver,
        *,
        stop: Callable[[], None],
    ) -> None:
        self._path = path
        self._runtime = runtime
        self._reconciler = reconciler
        self._watches = watches
        self._saver = saver
        self._stop = stop

    async def answer(self, request: Request) -> Answer:
        """To one request of the control socket. Raises PlutinoError where it cannot be met."""
        in_thread = self._reconciler.in_thread
        match request.method:
            case "ping":
                return Answer({"pid": os.getpid(), "file": str(self._path)})
            case "status":
                return Answer(await in_thread(self._status))
            case "plan":
                return Answer(await in_thread(self._plan))
            case "reload":
                result = await self.reload()
                steps = [step.to_json() for step in result.steps]
                return Answer({"steps": steps, "problems": list(result.problems)})
            case "stop":  # for good, unlike by a signal: peers are told
                if self._reconciler.ike is not None:
                    await self._reconciler.ike.leave()
                asyncio.get_running_loop().call_soon(self._stop)
                return Answer(True)
        return Answer(error=f"unknown method {request.method}")

    async def reload(self) -> PassResult:
        """Read the file again and make it so; a broken one leaves everything as it is.

        Raises PlutinoError if the file is broken, or cannot be made so.
        """
        notify("RELOADING=1")
        try:
            loaded = await self._reconciler.in_thread(lambda: load_gateway(self._path))
            instance = self._reconciler.loaded.gateway.instance
            if loaded.gateway.instance != instance:
                raise ConfigError.single(
                    str(self._path),
                    "instance",
                    f"was '{instance}' when the daemon started",
                    "`plutino down`, then start it again",
                )
            return await self._reconciler.take_over(loaded)
        finally:
            notify("READY=1")

    def reload_by_signal(self) -> None:
        """As a request, but that the log has the answer."""
        task = asyncio.ensure_future(self.reload())
        task.add_done_callback(_log_failure)

    def _status(self) -> dict[str, object]:
        reconciler = self._reconciler
        told = (
            *reconciler.problem_log.problems,
            *self._saver.problems,
            *reconciler.names.problems,
        )
        ike = NO_IKE if reconciler.ike is None else reconciler.ike.state()
        report = build_report(
            reconciler.located(reconciler.loaded, ike.children),
            self._runtime,
            daemon_pid=os.getpid(),
            problems=tuple(dict.fromkeys(told)),
            unanswered=self._watches.health.unanswered,
            ike=ike,
        )
        return encode_report(report)

    def _plan(self) -> dict[str, object]:
        """What a reload would do, with the CHILD_SAs that there are."""
        loaded = load_gateway(self._path)
        children = self._reconciler.children(loaded)
        loaded = self._reconciler.located(loaded, children)
        steps, problems = plan_pass(loaded, self._runtime, children)
        words = [step.describe() for step in steps]
        told = [step.to_json() for step in steps]
        return {"steps": told, "words": words, "problems": list(problems)}


def _log_failure(task: "asyncio.Future[PassResult]") -> None:
    error = task.exception()
    if error is not None:
        log(f"error: the file was not taken over: {error}")
