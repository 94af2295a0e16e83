"""The numbers with which an SA goes on at other addresses."""

from dataclasses import replace

import pytest

from plutino.dataplane.moved_sa import with_numbers
from plutino.model.sa import ReplayState, SaDirection
from tests.support.gateways import compiled, gateway_text

INWARD, OUTWARD = compiled(gateway_text()).sas


def test_what_is_sent_goes_on_where_it_was() -> None:
    assert OUTWARD.direction is SaDirection.OUT
    last = ReplayState(oseq=12345, seq=3)
    assert with_numbers(OUTWARD, last).replay == ReplayState(oseq=12345)


@pytest.mark.parametrize(
    ("window", "bitmap"),
    [(64, 0b1011), (32, 0b1011), (128, 0b1011 | ((1 << 128) - 1 ^ (1 << 64) - 1))],
)
def test_what_was_received_stays_received(window: int, bitmap: int) -> None:
    last = ReplayState(seq=500, window=64, bitmap=0b1011)
    wanted = replace(INWARD, replay=ReplayState(window=window))
    assert with_numbers(wanted, last).replay == ReplayState(seq=500, window=window, bitmap=bitmap)


def test_one_that_received_nothing_starts_anew() -> None:
    wanted = replace(INWARD, replay=ReplayState(window=128))
    assert with_numbers(wanted, ReplayState(window=64)).replay == ReplayState(window=128)
