"""The name of an instance is that of a folder which `down` deletes: it leads nowhere else."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from plutino.cli.down import down
from plutino.dataplane.runtime import RUNTIME_VARIABLE, STATE_VARIABLE, RuntimePaths
from plutino.model.errors import PlaneError


@pytest.mark.parametrize(
    "name", ["../victim", "..", ".", "", "a/../../victim", "/victim", "a\n", "-a", "a" * 33]
)
def test_down_deletes_no_folder_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "run" / "default").mkdir(parents=True)
    (tmp_path / "victim").mkdir()
    monkeypatch.setenv(RUNTIME_VARIABLE, str(tmp_path / "run"))
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
    result = CliRunner().invoke(down, ["--instance", name])
    assert isinstance(result.exception, PlaneError)
    assert "is no name of an instance" in str(result.exception)
    assert (tmp_path / "victim").is_dir()
    assert (tmp_path / "run" / "default").is_dir()


@pytest.mark.parametrize("name", ["default", "paris", "a", "A.b-c_9", "a" * 32])
def test_names_of_the_file_are_names_here(name: str) -> None:
    assert RuntimePaths.of(name).directory.name == name
