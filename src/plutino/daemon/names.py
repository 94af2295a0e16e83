"""The edge of host names: asks the system's resolver where peers are, again and again.

A thread for each question, so that neither passes nor IKE ever wait for an answer, and the daemon
ends at once while one is outstanding. libc tells no TTL, so the times are our own.
"""

import asyncio
import socket
import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from ipaddress import ip_address
from typing import Final

from plutino.config.gateway import Gateway
from plutino.desired.remotes import Resolved
from plutino.model.child_sa import ChildSa
from plutino.model.policy import IpAddress

INTERVAL_DOWN: Final = 30.0
"""Seconds between questions while the peer has no CHILD_SA with us."""
INTERVAL_UP: Final = 300.0
_FIRST_BACK_OFF: Final = 1.0
"""Seconds until a question that failed is asked again, doubled each time up to INTERVAL_DOWN."""
_MOST_AT_ONCE: Final = 8
_FAMILY: Final = {4: socket.AF_INET, 6: socket.AF_INET6, None: socket.AF_UNSPEC}

_Question = tuple[str, int | None]
"""A host name, and the IP version of the addresses that are of use, None for both."""


class Names:
    """What the peers' host names lead to; ``changed`` is called whenever that is another address.

    A name that cannot be resolved any more stays where it was last.
    """

    def __init__(self, log: Callable[[str], None], changed: Callable[[], None]) -> None:
        self._log = log
        self._changed = changed
        self._resolved: dict[_Question, IpAddress] = {}
        self._failures: dict[_Question, str] = {}
        self._tasks: dict[_Question, asyncio.Task[None]] = {}
        self._up: frozenset[_Question] = frozenset()
        self._asked_again: dict[_Question, asyncio.Event] = {}
        self._turns = asyncio.Semaphore(_MOST_AT_ONCE)

    @property
    def resolved(self) -> Resolved:
        """The addresses as they are known now."""
        return self._resolved.copy()  # in one step: passes ask from another thread

    @property
    def problems(self) -> tuple[str, ...]:
        """Names that cannot be resolved, in words."""
        return tuple(sorted(self._failures.copy().values()))

    def watch(self, gateway: Gateway, children: Mapping[str, Collection[ChildSa]]) -> None:
        """From now on the names of this gateway; those whose peer was lost are asked at once."""
        by_question: dict[_Question, list[bool]] = {}
        for name, tunnel in gateway.tunnels.items():
            if (question := tunnel.name_question) is not None:
                by_question.setdefault(question, []).append(bool(children.get(name)))
        before, self._up = self._up, frozenset(key for key, up in by_question.items() if all(up))
        for question in self._tasks.keys() - by_question.keys():
            self._tasks.pop(question).cancel()
            del self._asked_again[question]
            self._resolved.pop(question, None)
            self._failures.pop(question, None)
        for question in by_question:
            if question not in self._tasks:
                self._asked_again[question] = asyncio.Event()
                self._tasks[question] = asyncio.create_task(self._follow(question))
            elif question in before - self._up:
                self._asked_again[question].set()

    def ask_again(self) -> None:
        """At once, all of them."""
        for again in self._asked_again.values():
            again.set()

    def close(self) -> None:
        """No more questions; what is outstanding is not waited for."""
        for task in self._tasks.values():
            task.cancel()

    async def _follow(self, question: _Question) -> None:
        back_off = _FIRST_BACK_OFF
        again = self._asked_again[question]
        while True:
            async with self._turns:
                again.clear()
                found = await ask_resolver(question)
            self._note(question, found)
            if isinstance(found, str):
                pause, back_off = back_off, min(2 * back_off, INTERVAL_DOWN)
            else:
                back_off = _FIRST_BACK_OFF
                pause = INTERVAL_UP if question in self._up else INTERVAL_DOWN
            with suppress(TimeoutError):
                await asyncio.wait_for(again.wait(), pause)

    def _note(self, question: _Question, found: list[IpAddress] | str) -> None:
        name, _ = question
        if isinstance(found, str):
            words = f"{name} cannot be resolved: {found}"
            if self._failures.get(question) != words:
                self._log(f"warning: {words}")
            self._failures[question] = words
            return
        self._failures.pop(question, None)
        before = self._resolved.get(question)
        if before not in found:
            self._resolved[question] = found[0]
            self._log(f"{name} is {found[0]}" + (f", and was {before}" if before else ""))
            self._changed()


async def ask_resolver(question: _Question) -> list[IpAddress] | str:
    """The addresses that are of use, as the system orders them, or why there are none."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[IpAddress] | str] = loop.create_future()

    def settle(found: list[IpAddress] | str) -> None:
        if not answer.done():
            answer.set_result(found)

    def work() -> None:
        found = _addresses(question)
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, found)

    try:
        threading.Thread(target=work, name="resolver", daemon=True).start()
    except RuntimeError as error:  # no more threads
        return str(error)
    return await answer


def _addresses(question: _Question) -> list[IpAddress] | str:
    name, version = question
    try:
        found = socket.getaddrinfo(name, None, _FAMILY[version], socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        return getattr(error, "strerror", None) or str(error)
    addresses = [ip_address(str(one[4][0]).partition("%")[0]) for one in found]
    usable = [one for one in addresses if not (one.is_unspecified or one.is_multicast)]
    wanted = "address" if version is None else f"IPv{version} address"
    return list(dict.fromkeys(usable)) or f"it has no {wanted}"
