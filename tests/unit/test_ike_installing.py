"""A fault of ours in one installation does not end those to come."""

import asyncio
from collections.abc import Callable
from itertools import count
from pathlib import Path

from plutino.config.files import LoadedGateway, SharedKeys
from plutino.config.load import load_text
from plutino.daemon.ike_service import IkeService
from plutino.dataplane.runtime import RuntimePaths
from plutino.model.secret import Secret

TEXT = """
[tunnels.berlin]
interface = "ipsec1"
local = "192.0.2.1"
remote = "198.51.100.2"
ike.psk-file = "berlin.psk"
"""


def test_the_next_ones_are_made(tmp_path: Path) -> None:
    asked: asyncio.Queue[int] = asyncio.Queue()
    numbers = count(1)
    words: list[str] = []

    async def install(changed: frozenset[str], in_force: Callable[[], None]) -> None:
        del changed, in_force
        number = next(numbers)
        asked.put_nowait(number)
        if number == 1:
            raise ZeroDivisionError

    async def play() -> None:
        service = IkeService(loaded, RuntimePaths(tmp_path, tmp_path), install, words.append)
        task = asyncio.create_task(service._install_and_send())
        for expected in (1, 2):
            service._wake.set()
            assert await asyncio.wait_for(asked.get(), 60) == expected
        assert not task.done()
        task.cancel()

    gateway = load_text(TEXT, "gateway.toml")
    keys = {"berlin": SharedKeys(Secret(b"a key"), Secret(b"a key"))}
    loaded = LoadedGateway(gateway, tmp_path / "gateway.toml", {}, keys)
    asyncio.run(play())
    assert len(words) == 1
    assert words[0].startswith("error: ZeroDivisionError in install, line ")
