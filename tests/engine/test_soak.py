"""The soak in short: rekeys twenty times a second under full traffic, on a good and a bad wire."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.soak.phase import soak
from benchmarks.soak.report import SoakOptions

pytestmark = pytest.mark.root


@pytest.fixture
def short_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="plutino-"))  # a socket's path is short
    yield folder
    shutil.rmtree(folder)


def test_nothing_is_lost_doubled_or_readable_through_rekeys(short_folder: Path) -> None:
    phases = {"direct": 2.5, "bad wire": 2.5}
    options = SoakOptions(phases, rekey=0.05, grace=0.3, guest=0.5)
    for report in soak(options, short_folder):
        assert report.violations == []
        assert report.rekeys >= 20
        assert report.guests >= 1
