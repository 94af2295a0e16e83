"""Attacks by mode; ``attack`` goes through all of them."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from plutino.model.sa import Encapsulation
from tests.support.attack import BEETS, EVERY_MODE, TRANSPORTS, TUNNELS, Attack
from tests.support.engine_lab import EngineLab, engine_lab


@pytest.fixture(scope="module")
def lab() -> Iterator[EngineLab]:
    with engine_lab() as one:
        yield one


@pytest.fixture(params=EVERY_MODE, ids=str)
def attack(lab: EngineLab, request: pytest.FixtureRequest) -> Attack:
    return Attack(lab, request.param)


@pytest.fixture(params=EVERY_MODE, ids=str)
def attack_in_udp(lab: EngineLab, request: pytest.FixtureRequest) -> Attack:
    return Attack(lab, replace(request.param, encapsulation=Encapsulation.UDP))


@pytest.fixture(params=TUNNELS, ids=str)
def tunnel(lab: EngineLab, request: pytest.FixtureRequest) -> Attack:
    return Attack(lab, request.param)


@pytest.fixture(params=TRANSPORTS, ids=str)
def transport(lab: EngineLab, request: pytest.FixtureRequest) -> Attack:
    return Attack(lab, request.param)


@pytest.fixture(params=BEETS, ids=str)
def beet(lab: EngineLab, request: pytest.FixtureRequest) -> Attack:
    return Attack(lab, request.param)
