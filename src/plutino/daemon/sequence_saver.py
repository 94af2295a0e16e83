"""Looks at what numbers the data plane has used, and keeps them on disk."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from plutino.daemon.log import log
from plutino.daemon.pace import Pace
from plutino.daemon.passes import pass_lock, save_running
from plutino.dataplane.runtime import RuntimePaths
from plutino.model.errors import PlutinoError

Problems = tuple[str, ...]
_Work = Callable[[], Problems]


class SequenceSaver:
    """``problems`` are what the disk refuses, in words; ``in_thread`` does blocking work."""

    def __init__(
        self,
        instance: str,
        runtime: RuntimePaths,
        pace: Pace,
        in_thread: Callable[[_Work], Awaitable[Problems]],
    ) -> None:
        self.problems: Problems = ()
        self._instance = instance
        self._runtime = runtime
        self._pace = pace
        self._in_thread = in_thread

    async def rest(self) -> None:
        """Until the next look is due."""
        looked_at = time.monotonic()
        while True:
            rest = self._pace.save_rest(looked_at)
            if rest <= 0:
                return
            await asyncio.sleep(rest)

    async def look(self, known: Problems) -> None:
        """Once, and says what has gone wrong; problems that are ``known`` are not told again."""
        try:
            problems = await self._in_thread(self._timed)
        except PlutinoError:
            return  # the next pass finds and tells it
        for problem in problems:
            if problem not in (*self.problems, *known):
                log(f"warning: {problem}")
        self.problems = problems

    def save(self) -> Problems:
        """Once. Raises PlutinoError where the data plane cannot be asked."""
        with pass_lock(self._runtime):
            return save_running(self._instance, self._runtime)

    def _timed(self) -> Problems:
        began = time.monotonic()
        problems = self.save()
        self._pace.save_took = time.monotonic() - began
        return problems
