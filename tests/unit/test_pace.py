"""Passes and looks at the disk take no more than a share of a large gateway's time."""

import time

import pytest

from plutino.daemon.pace import CHECK_INTERVAL, SAVE_INTERVAL, Pace


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_a_small_gateway_is_looked_at_as_often_as_ever(clock: list[float]) -> None:
    pace = Pace()
    pace.passed(began=clock[0] - 0.1)
    pace.save_took = 0.01
    assert (pace.check_interval, pace.save_interval) == (CHECK_INTERVAL, SAVE_INTERVAL)
    assert pace.rest(clock[0]) == 0


def test_a_large_one_less_often(clock: list[float]) -> None:
    pace = Pace()
    pace.passed(began=clock[0] - 12)
    pace.save_took = 3
    assert (pace.check_interval, pace.save_interval) == (120, 5)


def test_a_pass_waits_for_a_pause_between_handshakes_but_not_for_ever(clock: list[float]) -> None:
    pace = Pace()
    pace.passed(began=clock[0] - 2)
    clock[0] += 10
    asked = clock[0]
    while clock[0] < asked + 39:
        pace.installed()
        assert 0 < pace.rest(asked) <= 2
        clock[0] += 1
    pace.installed()
    clock[0] += 1.5
    assert pace.rest(asked) < 0


def test_what_only_new_child_sas_call_for_comes_in_its_turn(clock: list[float]) -> None:
    pace = Pace()
    pace.passed(began=clock[0] - 2)
    pace.installed()
    assert pace.rest(clock[0]) == 0, "they were there before the pass was over"
    clock[0] += 1
    pace.installed()
    assert pace.rest(clock[0]) == 7
    clock[0] += 7
    assert pace.rest(clock[0] - 7) == 0


def test_one_that_has_ended_waits_for_no_pause(clock: list[float]) -> None:
    pace = Pace()
    pace.passed(began=clock[0] - 2)
    clock[0] += 1
    pace.installed(has_ended=True)
    for _ in range(7):
        assert pace.rest(clock[0]) > 0
        clock[0] += 1
        pace.installed()
    assert pace.rest(clock[0]) == 0
    pace.passed(began=clock[0])
    clock[0] += 1
    pace.installed()
    assert pace.rest(clock[0]) == 0, "it took no time"


def test_a_look_at_the_numbers_waits_for_a_pause_between_handshakes_but_not_for_long(
    clock: list[float],
) -> None:
    pace = Pace()
    looked_at = clock[0]
    assert pace.save_rest(looked_at) == SAVE_INTERVAL
    clock[0] += SAVE_INTERVAL
    assert pace.save_rest(looked_at) == 0
    while clock[0] < looked_at + 5:
        pace.installed()
        assert 0 < pace.save_rest(looked_at) < 0.21
        clock[0] += 0.125
    pace.installed()
    assert pace.save_rest(looked_at) == 0
    looked_at = clock[0]
    clock[0] += SAVE_INTERVAL
    assert pace.save_rest(looked_at) == 0
