"""`plutino doctor` and the choice of a data plane as a user meets them, on any kernel."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from plutino.lab.hosts import Host
from plutino.model.feature import Feature
from tests.support.ip_command import everything
from tests.support.lab import running_pair

pytestmark = pytest.mark.root


@pytest.fixture
def paris() -> Iterator[Host]:
    """Paris with its files and its wire; nothing of plutino runs."""
    with running_pair(start=False) as pair:
        yield pair.paris


def set_plane(host: Host, plane: str) -> None:
    lines = host.file.read_text().splitlines()
    kept = [line for line in lines if not line.startswith("data-plane")]
    host.file.write_text("\n".join([f'data-plane = "{plane}"', *kept]) + "\n")


def examined(host: Host) -> dict[str, Any]:
    done = host.plutino("doctor", host.file, "--json")
    document: dict[str, Any] = json.loads(done.stdout)
    assert (done.returncode == 0) == (document["problem"] is None)
    return document


def test_every_feature_is_there_with_a_cure_where_it_is_not(paris: Host) -> None:
    before = everything(paris)
    features = examined(paris)["features"]
    assert [one["feature"] for one in features] == list(Feature)
    for one in features:
        assert one["supported"] != bool(one["words"])
        assert one["supported"] != bool(one["cure"])
    assert everything(paris) == before


def test_auto_does_what_doctor_says_and_status_repeats_it(paris: Host) -> None:
    set_plane(paris, "auto")
    choice = examined(paris)["choice"]
    assert paris.plutino("apply", paris.file).returncode == 0
    status = paris.plutino("status", paris.file).stdout
    assert f"data plane: {choice['plane']}, {choice['why']}" in status
    after = paris.plutino("doctor", paris.file).stdout
    assert f"is on the {choice['plane']} plane until `plutino down`" in after
    assert paris.plutino("down").returncode == 0


def test_the_kernel_by_name_serves_or_is_refused_before_anything_is_made(paris: Host) -> None:
    set_plane(paris, "kernel")
    document = examined(paris)
    before = everything(paris)
    done = paris.plutino("apply", paris.file)
    if document["problem"] is None:
        assert done.returncode == 0
        return
    assert done.returncode == 1
    assert document["problem"] in done.stderr
    assert "which this kernel lacks (`tunnels.berlin.interface`)" in done.stderr
    assert "hint: " in done.stderr
    assert everything(paris) == before
