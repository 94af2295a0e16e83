"""Kernel and engine for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.both_planes import Both, both_planes


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Both]:
    with both_planes(tmp_path) as both:
        yield both
