"""Rust files have one subject each, as Python's have (`test_layers`)."""

from pathlib import Path

import pytest

ENGINE = Path(__file__).parents[2] / "engine"
_MOST_LINES = 450


def rust_files() -> list[Path]:
    """All of ours, tests and benchmarks too."""
    files = sorted(path for path in ENGINE.rglob("*.rs") if "target" not in path.parts)
    assert files
    return files


def _name(path: Path) -> str:
    return path.relative_to(ENGINE).as_posix()


@pytest.mark.parametrize("path", rust_files(), ids=_name)
def test_rust_files_have_one_subject(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= _MOST_LINES
    assert path.stem not in {"utils", "util", "helpers", "helper", "common", "misc", "manager"}


@pytest.mark.parametrize("path", rust_files(), ids=_name)
def test_rust_files_say_what_they_are_for(path: Path) -> None:
    assert path.read_text().startswith("//!"), f"{path} does not say what it is for"
