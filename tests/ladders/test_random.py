"""Random conversations: whatever the network does, both sides end with the same, or with nothing.

A failing seed prints itself; ``PLUTINO_LADDER_SEED=N`` runs that one alone, and
``PLUTINO_LADDERS=N`` so many instead of the few of the default run.
"""

import os
from ipaddress import ip_network
from random import Random

import pytest

from plutino.ike.narrowing import selector_of
from plutino.ike.path import first_path
from tests.support.exhaustive import EXHAUSTIVE
from tests.support.ike_network import (
    A2,
    ESP_GCM,
    ESP_GCM_PFS,
    ESP_SERIES,
    IKE_GCM,
    IKE_SERIES,
    A,
    B,
    Conditions,
    IkePair,
    child,
    peer,
)

LAB = (selector_of(ip_network("10.77.0.0/24")),)
WINDOWS = (1, 1, 2, 4)
ACTS = (
    "rekey child",
    "rekey children",
    "rekey ike",
    "rekey ike",
    "delete child",
    "pause",
    "restart",
    "move",
)
RUNS = int(os.environ.get("PLUTINO_LADDERS", "10000" if EXHAUSTIVE else "1600"))
SEEDS = (
    [int(os.environ["PLUTINO_LADDER_SEED"])] if "PLUTINO_LADDER_SEED" in os.environ else range(RUNS)
)


def act(pair: IkePair, choice: Random) -> None:
    """One thing that a side may want, or both at once."""
    sides = choice.choice(("a", "b", "ab"))
    what = choice.choice(ACTS)
    if what == "move":
        here, lost = choice.choice((A, A2)), choice.choice((A, A2))
        pair.a.go_by("b", first_path(here, B), {(lost, B)}, pair.now)
    for side in sides:
        if what == "restart":
            pair.restart(side)
        endpoint, other = pair.endpoints[side], "b" if side == "a" else "a"
        current = [one.child.spi_in for one in pair.current(side)]
        if what == "rekey child" and current:
            endpoint.rekey_child(choice.choice(current), pair.now)
        elif what == "rekey children":
            for spi in current:
                endpoint.rekey_child(spi, pair.now)
        elif what == "rekey ike":
            endpoint.rekey_ike(other, pair.now)
        elif what == "delete child" and current:
            endpoint.delete_child(choice.choice(current), pair.now)
    pair.run(choice.choice((0.005, 0.03, 0.3, 3.0)))


def converse(seed: int) -> IkePair:
    """A conversation under bad conditions, then quiet until all is settled."""
    choice = Random(seed)
    conditions = Conditions(
        loss=choice.choice((0.0, 0.1, 0.3)),
        duplication=choice.choice((0.0, 0.2)),
        delay=choice.choice(((0.01, 0.01), (0.001, 0.5), (0.01, 3.0))),
    )
    suites = choice.choice(((ESP_GCM,), (ESP_GCM_PFS,), (ESP_SERIES,)))
    both = child(suites=suites), child("lab", suites=suites, local=LAB, remote=LAB)
    children = both[: choice.choice((1, 2))]
    # Of an IKE SA that the other end has no more after its restart, silence alone tells.
    known = {
        "children": children,
        "liveness_after": 20.0,
        "suites": (choice.choice((IKE_GCM, IKE_SERIES)),),
    }
    mobike = choice.random() < 0.7
    a = peer("a", **known, local=None, mobike=mobike, window=choice.choice(WINDOWS))
    b = peer("b", **known, remotes=(A, A2), window=choice.choice(WINDOWS))
    pair = IkePair(seed, conditions, a=a, b=b)
    for side in choice.choice(("a", "b", "ab", "ba")):
        pair.start(side, tuple(one.name for one in children))
        pair.run(choice.choice((0.0, 0.02, 1.0)))
    for _ in range(choice.randrange(8)):
        act(pair, choice)
    pair.conditions = Conditions()
    return pair


@pytest.mark.parametrize("first", range(0, len(SEEDS), 100))
def test_both_sides_end_with_the_same(first: int) -> None:
    for seed in SEEDS[first : first + 100]:
        pair = converse(seed)
        settled = pair.run(400, pair.is_settled)
        words = "\n".join([f"seed {seed}", *pair.trace[-60:], str(pair.events)])
        assert settled, words
        pair.run(60)
        assert pair.run(5, pair.is_settled), words  # a liveness check may be on its way
        assert pair.paths_meet(), words
