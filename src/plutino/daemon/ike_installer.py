"""First the data plane, then the answer: what IKE sends waits for the CHILD_SAs it tells of."""

import asyncio
import time
import traceback
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from plutino.daemon.early_esp import EarlyEsp
from plutino.daemon.ike_children import IkeChildren
from plutino.daemon.ike_outbox import Outbox
from plutino.ike.path import Datagram
from plutino.ike_process.outcome import AwaitedSa
from plutino.model.errors import PlutinoError

Install = Callable[[frozenset[str], Callable[[], None]], Awaitable[object]]
"""Makes the plane as the CHILD_SAs of these tunnels are; it may tell when the SAs are in force."""
_GATHER: Final = 0.02
"""Seconds to wait for more CHILD_SAs where they follow each other: many cost little more than one.
"""


class IkeInstaller:
    """One installation after another, each of all that has changed until it begins."""

    def __init__(
        self,
        children: IkeChildren,
        install: Install,
        send: Callable[[Iterable[Datagram]], None],
        log: Callable[[str], None],
    ) -> None:
        self._children = children
        self._install = install
        self._send = send
        self._log = log
        self._outbox = Outbox()
        self._early = EarlyEsp()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """From now on; what is held is sent after the first installation."""
        self._task = asyncio.get_running_loop().create_task(self._install_and_send())
        if self._outbox:
            self.wake()

    def hold(self, datagrams: Iterable[Datagram]) -> None:
        """These wait for the next installation."""
        self._outbox.hold(datagrams)

    def send(self, datagrams: Iterable[Datagram]) -> None:
        """At once, unless one of the same octets waits."""
        self._send(self._outbox.free(datagrams))

    def wake(self) -> None:
        """There is something to install, or to send after an installation."""
        self._wake.set()

    def expect_esp(self, awaited: AwaitedSa, mark: int) -> None:
        """ESP of a CHILD_SA that the peer may use before it is in force here."""
        self._early.expect(awaited, mark)

    def close(self) -> None:
        """No more; what waits is not sent."""
        if self._task is not None:
            self._task.cancel()
        self._early.close()

    async def _install_and_send(self) -> None:
        installed_at = 0.0
        while True:
            await self._wake.wait()
            if time.monotonic() - installed_at < _GATHER:
                await asyncio.sleep(_GATHER)
            self._wake.clear()
            waiting = len(self._outbox)
            changed = self._children.take_changed()
            several = self._children.of(changed).values()
            early = self._early.take([one.spi_in for child in several for one in child])
            try:
                await self._install(changed, early.deliver)
            except PlutinoError as error:
                self._log(f"error: {error}")
            except Exception as error:  # a fault of ours: the next ones are installed all the same
                at = traceback.extract_tb(error.__traceback__)[-1]
                self._log(f"error: {type(error).__name__} in {at.name}, line {at.lineno}")
            installed_at = time.monotonic()
            early.deliver()
            self._send(self._outbox.release(waiting))
            if self._outbox:
                self._wake.set()
