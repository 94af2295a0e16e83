"""Another IKE process is started until one runs, whatever has kept the one before from it."""

import asyncio
import errno
from pathlib import Path

import pytest

from plutino.config.files import load_gateway
from plutino.daemon.ike_service import IkeService
from plutino.dataplane.runtime import RuntimePaths
from plutino.model.errors import KernelError, PlaneError, PlutinoError
from tests.support.gateways import IKE_TEXT


@pytest.mark.parametrize(
    "error", [KernelError("open UDP port 500", errno.EADDRINUSE), PlaneError("it does not answer")]
)
def test_it_is_tried_again(
    error: PlutinoError, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gateway.toml").write_text(IKE_TEXT)
    key = tmp_path / "berlin.psk"
    key.write_text("a long enough key for this, to be sure")
    key.chmod(0o600)
    words: list[str] = []

    async def play() -> None:
        runtime = RuntimePaths(tmp_path / "run", tmp_path / "state")
        runtime.create()
        loaded = load_gateway(tmp_path / "gateway.toml")
        service = IkeService(loaded, runtime, lambda *_: asyncio.sleep(0), words.append)
        tries = 0
        is_up = asyncio.Event()

        async def take_up() -> None:
            nonlocal tries
            tries += 1
            if tries == 1:
                raise error
            is_up.set()

        monkeypatch.setattr(service, "take_up", take_up)
        service._hear_end("signal 9")
        await asyncio.wait_for(is_up.wait(), 60)
        service.close()

    asyncio.run(play())
    assert words[1] == f"error: {error}"
