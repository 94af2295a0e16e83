"""What calls for a pass waits for handshakes, and what is urgent does not."""

import asyncio
from collections.abc import Callable

import pytest

from plutino.daemon.pace import Pace
from plutino.daemon.wake import Wake


class Busy(Pace):
    """Handshakes never pause."""

    def rest(self, asked: float) -> float:
        del asked
        return 1000.0


async def rests(call: Callable[[Wake], None]) -> bool:
    wake = Wake()
    call(wake)
    assert wake.is_set()
    resting = asyncio.create_task(wake.rest(Busy(), lambda: None))
    for _ in range(5):
        await asyncio.sleep(0)
    is_resting = not resting.done()
    wake.set_in_haste()
    await asyncio.wait_for(resting, 60)
    return is_resting


@pytest.mark.parametrize(("call", "waits"), [(Wake.set, True), (Wake.set_in_haste, False)])
def test_haste_ends_the_wait(call: Callable[[Wake], None], *, waits: bool) -> None:
    assert asyncio.run(rests(call)) is waits


def test_the_next_is_in_no_haste() -> None:
    def twice(wake: Wake) -> None:
        wake.set_in_haste()
        wake.clear()
        assert not wake.is_set()
        wake.set()

    assert asyncio.run(rests(twice))
