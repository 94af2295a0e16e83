"""Ways that are lost and come back, on a virtual clock, over networks that lose and delay."""

import random

import pytest

from plutino.desired.health import Health
from plutino.model.policy import IpAddress
from plutino.model.probe import LONGEST_HOLD, Probe

KEY = "isp1 to 198.51.100.2"
STEP = 0.1


def probe(**changes: float) -> Probe:
    values: dict[str, float] = {"interval": STEP, "lost_after": 5, "back_after": 2.0}
    values |= changes
    destinations: tuple[IpAddress, ...] = ()
    return Probe(
        KEY,
        destinations,
        interval=values["interval"],
        lost_after=int(values["lost_after"]),
        back_after=values["back_after"],
    )


class Line:
    """A way whose answers take ``delay`` seconds, or never come while it is ``cut``."""

    def __init__(self, health: Health, delay: float = 0.02) -> None:
        health.watch([probe()])
        self.health = health
        self.delay = delay
        self.cut = False
        self.loss = 0.0
        self.random = random.Random(7)
        self.now = 0.0
        self.coming: list[float] = []
        self.changes: list[tuple[float, bool]] = []

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end - 1e-9:
            way = self.health.ways[KEY]
            was_lost = way.lost
            for at in sorted(one for one in self.coming if one <= self.now):
                way.answered(at)
            self.coming = [one for one in self.coming if one > self.now]
            way.asked(self.now)
            if not self.cut and self.random.random() >= self.loss:
                self.coming.append(self.now + self.delay)
            if way.lost != was_lost:
                self.changes.append((self.now, way.lost))
            self.now += STEP

    @property
    def lost(self) -> bool:
        return KEY in self.health.lost


@pytest.mark.parametrize("delay", [0.001, 0.1, 0.4])
def test_a_cut_line_is_lost_within_half_a_second_beyond_its_delay(delay: float) -> None:
    line = Line(Health(), delay)
    line.run(3)
    assert not line.lost
    line.cut = True
    line.run(0.61 + delay)
    assert line.lost


def test_it_is_back_when_it_has_answered_for_long_enough() -> None:
    line = Line(Health())
    line.run(1)
    line.cut = True
    line.run(2)
    line.cut = False
    line.run(1.8)
    assert line.lost
    line.run(0.6)
    assert not line.lost


def test_one_that_never_answered_tells_nothing() -> None:
    line = Line(Health())
    line.cut = True
    line.run(60)
    assert not line.lost
    assert line.health.unanswered == {KEY}


def test_a_new_process_goes_on_where_one_ended() -> None:
    line = Line(Health(lost={KEY}))
    line.cut = True
    line.run(5)
    assert line.lost
    line.cut = False
    line.run(3)
    assert not line.lost


def test_a_line_that_comes_and_goes_is_left_alone_for_longer_and_longer() -> None:
    line = Line(Health())
    line.run(1)
    for _ in range(100):  # 10 minutes
        line.cut = True
        line.run(3)
        line.cut = False
        line.run(3)
    assert len(line.changes) <= 5, line.changes
    line.run(LONGEST_HOLD + 1)
    assert not line.lost


def test_a_stable_line_is_forgiven() -> None:
    line = Line(Health())
    for _ in range(4):
        line.run(301)
        line.cut = True
        line.run(1)
        line.cut = False
        line.run(2.5)
        assert not line.lost


@pytest.mark.parametrize("seed", range(200))
def test_a_poor_line_is_not_taken_for_a_lost_one(seed: int) -> None:
    line = Line(Health(), delay=0.08)
    line.run(1)
    line.random = random.Random(seed)
    line.loss = 0.05
    line.run(120)
    # Five losses in a row have a chance of one in three millions for each request.
    assert line.changes == []


def test_others_that_are_watched_do_not_matter() -> None:
    health = Health()
    line = Line(health)
    line.run(1)
    way = health.ways[KEY]
    health.watch([probe(), Probe("another", ())])
    assert health.ways[KEY] is way
    health.watch([Probe("another", ())])
    assert health.lost == frozenset()
