"""One engine for the tests of a file, whose SAs are gone before each."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from plutino.netlink.xfrm.constants import MessageType
from plutino.netlink.xfrm.structures import UserSaFlush
from tests.support.engine import engine_process
from tests.support.sa_requests import Engine


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with engine_process(tmp_path_factory.mktemp("engine")) as path:
        yield path


@pytest.fixture
def engine(running: Path) -> Iterator[Engine]:
    engine = Engine(running)
    engine.ask(MessageType.FLUSHSA, UserSaFlush(0))
    yield engine
    engine.socket.close()
