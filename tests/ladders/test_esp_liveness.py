"""ESP that arrived is a sign of life, and only what the data plane has accepted (RFC 7296, 2.4)."""

from collections.abc import Callable

import pytest

from plutino.ike.esp_use import ANSWER_WITHIN, ChildUse
from tests.support.ike_network import IkePair, peer

AFTER = 30.0
CHECK = "a> INFORMATIONAL {}"


class Flow:
    """ESP from b to a: a packet each second as long as ``runs`` says so, and a's wall clock."""

    def __init__(self, pair: IkePair, runs: Callable[[float], bool]) -> None:
        self.pair = pair
        self.began = pair.now
        self.runs = runs
        self.clock_is_off = 0.0
        pair.uses = self.told

    def told(self, name: str) -> list[ChildUse]:
        (child,) = self.pair.current(name)
        times = [self.began + n for n in range(1, int(self.pair.now - self.began) + 1)]
        came = [one for one in times if name == "a" and self.runs(one - self.began)]
        idle = max(self.pair.now + self.clock_is_off - came[-1], 0.0) if came else None
        return [ChildUse(child.child.spi_in, len(came), idle)]


def up() -> IkePair:
    pair = IkePair(a=peer("a", liveness_after=AFTER))
    pair.establish()
    pair.run(2)
    return pair


def first_check(pair: IkePair, within: float) -> float | None:
    """Seconds until a asks."""
    began, before = pair.now, pair.trace.count(CHECK)
    asked = pair.run(within, lambda: pair.trace.count(CHECK) > before)
    return pair.now - began if asked else None


def test_while_esp_comes_nobody_is_asked() -> None:
    pair = up()
    Flow(pair, lambda _: True)
    assert first_check(pair, 1000) is None
    looks = pair.trace.count("a looks at its ESP")
    assert 0 < looks <= 1000 / (AFTER - 2)  # once for each silence of IKE, and not more


def test_without_esp_the_peer_is_asked_as_ever() -> None:
    pair = up()
    Flow(pair, lambda _: False)
    assert first_check(pair, 60) == pytest.approx(AFTER, abs=2.1)


@pytest.mark.parametrize("last", [3, 29, 31, 47, 100])
def test_the_silence_is_counted_from_the_last_packet(last: int) -> None:
    """So a dead peer is found no later than one that had no traffic."""
    pair = up()
    Flow(pair, lambda second: second <= last)
    asked = first_check(pair, 1000)
    assert asked == pytest.approx(last + AFTER, abs=1.1)


def test_a_dead_peer_is_let_go_although_esp_had_come() -> None:
    pair = up()
    Flow(pair, lambda second: second <= 50)
    pair.run(50)
    pair.blocked = True
    assert pair.run(AFTER + 2 + 110, lambda: not pair.current("a"))


def test_a_plane_that_does_not_answer_delays_the_question_by_a_moment() -> None:
    pair = up()
    pair.uses = lambda _: None
    assert first_check(pair, 60) == pytest.approx(AFTER + ANSWER_WITHIN, abs=2.1)


def test_an_answer_about_other_sas_says_nothing() -> None:
    pair = up()
    pair.uses = lambda _: [ChildUse(b"\1\2\3\4", 1000, 0.0)]
    assert first_check(pair, 60) == pytest.approx(AFTER, abs=2.1)


@pytest.mark.parametrize("off", [-1e6, 1e6])
def test_a_wall_clock_that_is_set_hides_no_death(off: float) -> None:
    """Behind, old packets look new: that is believed once at most."""
    pair = up()
    flow = Flow(pair, lambda second: second <= 10)
    flow.clock_is_off = off
    asked = first_check(pair, 1000)
    assert asked is not None
    assert asked <= 2 * AFTER + 1


def test_an_sa_that_began_anew_is_heard_again() -> None:
    """Where one is moved, its packets count from zero."""
    pair = up()
    flow = Flow(pair, lambda _: True)
    pair.run(100)
    flow.began = pair.now - 1
    assert first_check(pair, 100) is None


def test_what_came_before_a_restart_does_not_count_again() -> None:
    pair = up()
    Flow(pair, lambda second: second <= 10)
    pair.run(20)
    pair.restart("a")
    pair.pump()
    asked = first_check(pair, 100)
    assert asked is not None
    assert asked <= AFTER + 1
