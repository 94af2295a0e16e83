"""When the resolver is asked, and what becomes of its answers."""

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

import pytest

from plutino.config.gateway import Gateway
from plutino.config.load import load_text
from plutino.daemon.names import INTERVAL_DOWN, INTERVAL_UP, Names
from plutino.model.child_sa import ChildSa
from tests.support.roaming import CHILD, NAME, text_of

GATEWAY = load_text(text_of(NAME), "gateway.toml")
ADDRESSED = load_text(text_of("198.51.100.2"), "gateway.toml")
UP: dict[str, tuple[ChildSa, ...]] = {"berlin": (CHILD,)}
DOWN: dict[str, tuple[ChildSa, ...]] = {}
FAMILY = {socket.AF_INET: 4, socket.AF_INET6: 6, socket.AF_UNSPEC: None}


class Resolver:
    """The system's, with answers of the test's; each pause that is wished for ends at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers: list[list[str] | str] = []
        self.asked: list[tuple[str, int | None]] = []
        self.pauses: list[float] = []
        self.log: list[str] = []
        self.changes = 0
        self.done = asyncio.Event()
        monkeypatch.setattr(socket, "getaddrinfo", self._getaddrinfo)
        monkeypatch.setattr(asyncio, "wait_for", self._wait_for)
        self.names = Names(self.log.append, self._changed)

    def _changed(self) -> None:
        self.changes += 1

    def _getaddrinfo(self, name: str, port: object, family: Any, kind: object) -> list[Any]:
        self.asked.append((name, FAMILY[family]))
        answer = self.answers.pop(0)
        if isinstance(answer, str):
            raise socket.gaierror(socket.EAI_NONAME, answer)
        return [(family, kind, 17, "", (one, 0)) for one in answer]

    async def _wait_for(self, waited: Any, pause: float) -> None:
        """Until the answers are used up, and then for good."""
        self.pauses.append(pause)
        if self.answers:
            waited.close()
            raise TimeoutError
        self.done.set()
        await waited
        self.done.clear()

    async def run(self, gateway: Gateway = GATEWAY, *, up: bool = False) -> None:
        self.names.watch(gateway, UP if up else DOWN)
        await self.done.wait()

    @property
    def found(self) -> dict[tuple[str, int | None], str]:
        return {key: str(address) for key, address in self.names.resolved.items()}


def played(
    monkeypatch: pytest.MonkeyPatch, play: Callable[[Resolver], Any], *answers: list[str] | str
) -> Resolver:
    async def main() -> Resolver:
        resolver = Resolver(monkeypatch)
        resolver.answers += answers
        await play(resolver)
        resolver.names.close()
        return resolver

    return asyncio.run(main())


def test_an_address_stays_as_long_as_it_is_among_the_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, two, three = "198.51.100.2", "198.51.100.3", "198.51.100.4"
    answers = [one, two], [two, one], [two, three]
    resolver = played(monkeypatch, Resolver.run, *answers)
    assert resolver.found == {(NAME, 4): two}
    assert resolver.changes == 2
    assert resolver.log == [f"{NAME} is {one}", f"{NAME} is {two}, and was {one}"]
    assert resolver.pauses == [INTERVAL_DOWN] * 3


def test_a_failure_is_told_once_and_asked_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    words = f"{NAME} cannot be resolved: Name or service not known"
    failure = "Name or service not known"
    resolver = played(monkeypatch, Resolver.run, ["198.51.100.2"], *[failure] * 7)
    assert resolver.found == {(NAME, 4): "198.51.100.2"}, "where it was last"
    assert resolver.names.problems == (words,)
    assert resolver.log[1:] == [f"warning: {words}"]
    assert resolver.pauses[1:] == [1, 2, 4, 8, 16, 30, 30]
    resolver = played(monkeypatch, Resolver.run, failure, ["198.51.100.2"])
    assert resolver.names.problems == ()


def test_what_is_no_address_of_one_host_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = played(monkeypatch, Resolver.run, ["0.0.0.0", "224.0.0.1"])
    assert resolver.found == {}
    assert resolver.names.problems == (f"{NAME} cannot be resolved: it has no IPv4 address",)


def test_a_peer_that_is_up_is_looked_for_less_often_and_at_once_when_it_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def play(resolver: Resolver) -> None:
        await resolver.run(up=True)
        assert resolver.pauses == [INTERVAL_UP]
        resolver.answers.append(["198.51.100.3"])
        resolver.done.clear()
        await resolver.run()
        assert resolver.pauses[1:] == [INTERVAL_DOWN]
        resolver.answers.append(["198.51.100.4"])
        resolver.done.clear()
        resolver.names.ask_again()
        await resolver.done.wait()

    resolver = played(monkeypatch, play, ["198.51.100.2"])
    assert resolver.found == {(NAME, 4): "198.51.100.4"}


def test_the_family_is_that_of_our_own_address(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(resolver: Resolver) -> None:
        text = text_of(NAME).replace("192.0.2.1", "2001:db8::1")
        await resolver.run(load_text(text, "gateway.toml"))

    resolver = played(monkeypatch, play, ["2001:db8::2"])
    assert resolver.asked == [(NAME, 6)]
    assert resolver.names.resolved == {(NAME, 6): ip_address("2001:db8::2")}


def test_where_uplinks_give_our_address_either_family_will_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def play(resolver: Resolver) -> None:
        text = text_of(NAME, 'local-id = "paris.example"')
        text = text.replace('local = "192.0.2.1"', 'uplinks = ["isp1"]')
        await resolver.run(load_text(f'[uplinks.isp1]\ninterface = "eth1"\n{text}', "gateway.toml"))

    resolver = played(monkeypatch, play, ["2001:db8::2", "198.51.100.2"])
    assert resolver.asked == [(NAME, None)]
    assert resolver.names.resolved == {(NAME, None): ip_address("2001:db8::2")}


def test_a_name_that_is_gone_from_the_file_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(resolver: Resolver) -> None:
        await resolver.run()
        resolver.names.watch(ADDRESSED, DOWN)

    assert played(monkeypatch, play, ["198.51.100.2"]).found == {}


def test_an_answer_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, answered = threading.Event(), threading.Event()

    def getaddrinfo(*_: object) -> list[Any]:
        asked.set()
        answered.wait()
        return []

    async def main() -> None:
        names = Names(print, print)
        names.watch(GATEWAY, DOWN)
        await asyncio.to_thread(asked.wait)
        names.close()
        (task,) = names._tasks.values()
        with suppress(asyncio.CancelledError):
            await task

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    try:
        asyncio.run(main())
    finally:
        answered.set()
