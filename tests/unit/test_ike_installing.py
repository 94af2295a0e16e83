"""A fault of ours in one installation does not end those to come."""

import asyncio
from collections.abc import Callable
from itertools import count

from plutino.config.load import load_text
from plutino.daemon.ike_children import IkeChildren
from plutino.daemon.ike_installer import IkeInstaller
from plutino.ike.path import Datagram
from tests.support.gateways import IKE_TEXT


def test_the_next_ones_are_made() -> None:
    asked: asyncio.Queue[int] = asyncio.Queue()
    numbers = count(1)
    words: list[str] = []
    sent: list[Datagram] = []

    async def install(changed: frozenset[str], in_force: Callable[[], None]) -> None:
        del changed, in_force
        number = next(numbers)
        asked.put_nowait(number)
        if number == 1:
            raise ZeroDivisionError

    async def play() -> None:
        children = IkeChildren(load_text(IKE_TEXT, "gateway.toml"), words.append)
        installer = IkeInstaller(children, install, sent.extend, words.append)
        installer.start()
        for expected in (1, 2):
            installer.wake()
            assert await asyncio.wait_for(asked.get(), 60) == expected
        installer.close()

    asyncio.run(play())
    assert len(words) == 1
    assert words[0].startswith("error: ZeroDivisionError in install, line ")
