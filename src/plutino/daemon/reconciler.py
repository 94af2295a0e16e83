"""What makes a gateway as its file says: passes over all of it, and CHILD_SAs by themselves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from plutino.config.files import LoadedGateway
from plutino.daemon.key_log import KeyLog
from plutino.daemon.log import log
from plutino.daemon.names import Names
from plutino.daemon.pace import Pace
from plutino.daemon.passes import NO_CHILDREN, Children, PassResult, run_pass
from plutino.daemon.problem_log import ProblemLog
from plutino.daemon.rekeying import Settled, install_children
from plutino.daemon.wake import Wake
from plutino.daemon.watches import Watches
from plutino.dataplane.choice import KERNEL
from plutino.dataplane.runtime import RuntimePaths
from plutino.desired.remotes import with_remotes
from plutino.ike_process.collector import spare_what_is_there, without_collection
from plutino.model.errors import PlutinoError

if TYPE_CHECKING:
    from plutino.daemon.ike_service import IkeService

_Value = TypeVar("_Value")


class Reconciler:
    """One gateway: its file, its IKE, and where its peers are, as the next pass takes them.

    All that blocks goes through ``in_thread``, so nothing changes the machine while a pass does.
    """

    def __init__(
        self,
        loaded: LoadedGateway,
        runtime: RuntimePaths,
        wake: Wake,
        watches: Watches,
        key_log: KeyLog | None,
    ) -> None:
        self.loaded = loaded
        self.ike: IkeService | None = None
        self.names = Names(log, wake.set)
        self.problem_log = ProblemLog()
        self.pace = Pace()
        self._runtime = runtime
        self._wake = wake
        self._watches = watches
        self._key_log = key_log
        self._settled: Settled | None = None
        self._one_at_a_time = asyncio.Lock()

    async def start(self) -> PassResult:
        """The first pass, and IKE from then on. Raises PlutinoError if it fails."""
        self.ike = await self._new_ike()
        result = await self.make_pass()
        if self.ike is not None:
            self.ike.start(on_kernel=result.choice.plane == KERNEL)
            self.pace.installed()  # IKE's handshakes come first
        spare_what_is_there()
        return result

    async def make_pass(self) -> PassResult:
        """Everything as it should be now. Raises PlutinoError if that cannot be."""
        result = await self.in_thread(self._run_pass)
        self._watches.follow(self.loaded.gateway, result, self.ike)
        self.names.watch(self.loaded.gateway, self.children(self.loaded))
        if self.ike is not None:
            self.ike.go_by(result.ways)
        self.problem_log.passed(result.problems)
        return result

    async def take_over(self, loaded: LoadedGateway) -> PassResult:
        """Another file from now on. Raises PlutinoError, and stays with the former, if it fails."""
        before, self.loaded = self.loaded, loaded
        try:
            result = await self.make_pass()
            self.names.ask_again()
            await self._reload_ike(result)
            spare_what_is_there()
            return result
        except PlutinoError:
            self.loaded = before
            self._wake.set()
            raise

    def children(self, loaded: LoadedGateway) -> Children:
        """The CHILD_SAs that there are, as far as this file allows them."""
        return NO_CHILDREN if self.ike is None else self.ike.children(loaded.gateway)

    def located(self, loaded: LoadedGateway, children: Children) -> LoadedGateway:
        """With the addresses of peers that may be anywhere, as far as they are known."""
        gateway = with_remotes(loaded.gateway, children, self.names.resolved)
        return replace(loaded, gateway=gateway)

    async def in_thread(self, work: Callable[[], _Value]) -> _Value:
        """Blocking work, one piece at a time, while the loop goes on answering."""
        async with self._one_at_a_time:
            return await asyncio.get_running_loop().run_in_executor(None, without_collection, work)

    def close(self) -> None:
        """Stops IKE and what resolves names; the tunnels stay up."""
        if self.ike is not None:
            self.ike.close()
        self.names.close()

    # --- passes

    def _run_pass(self) -> PassResult:
        """With the CHILD_SAs as they are when its turn has come."""
        self._settled = None
        children = self.children(self.loaded)
        located = self.located(self.loaded, children)
        began = time.monotonic()
        result = run_pass(located, self._runtime, children)
        self.pace.passed(began, is_idle=not result.steps)
        self._settled = Settled(located.gateway, result.choice, result.ways, dict(children))
        return result

    # --- IKE

    async def _new_ike(self) -> IkeService | None:
        if all(tunnel.ike is None for tunnel in self.loaded.gateway.tunnels.values()):
            return None
        from plutino.daemon.ike_service import IkeService  # noqa: PLC0415 -- slow to load

        ike = IkeService(self.loaded, self._runtime, self._install, log, self._key_log)
        await ike.take_up()
        return ike

    async def _reload_ike(self, result: PassResult) -> None:
        """The peers of the file as it is now."""
        if self.ike is not None:
            self.ike.reload(self.loaded)
            self.ike.open_sockets(on_kernel=result.choice.plane == KERNEL)
        elif (ike := await self._new_ike()) is not None:
            self.ike = ike
            self._watches.follow(self.loaded.gateway, result, ike)
            ike.go_by(result.ways)
            ike.start(on_kernel=result.choice.plane == KERNEL)

    async def _install(self, changed: frozenset[str], in_force: Callable[[], None]) -> None:
        """Makes the plane as IKE wants it, or says why not."""
        try:
            if await self.in_thread(partial(self._install_alone, changed, in_force)):
                self._wake.set()
            else:
                await self.make_pass()
        except PlutinoError as error:
            self.problem_log.failed(error)
            self._wake.set()

    def _install_alone(self, changed: frozenset[str], in_force: Callable[[], None]) -> bool:
        """Without a look at anything else; whether all of it could be done so."""
        settled, self._settled = self._settled, None
        if settled is None or self.ike is None:
            return False
        children = self.ike.children_of(changed)
        try:
            installed = install_children(settled, self._runtime, children, in_force)
        except PlutinoError:
            return False  # the pass that follows finds out why
        self._settled = settled
        self.pace.installed(has_ended=installed.has_ended)
        return installed.is_all
