"""plan, apply and down as a user runs them, beside objects of others."""

import json
from collections.abc import Iterator

import pytest

from plutino.lab.hosts import Host
from tests.support.ip_command import everything, ip
from tests.support.lab import running_pair

pytestmark = pytest.mark.root


@pytest.fixture
def paris() -> Iterator[Host]:
    """Paris with its files and its wire; nothing of plutino runs."""
    with running_pair(start=False) as pair:
        yield pair.paris


def steps(host: Host, command: str) -> list[dict[str, str]]:
    done = host.plutino(command, host.file, "--json")
    assert done.returncode == 0, done.stderr
    found: list[dict[str, str]] = json.loads(done.stdout)["steps"]
    return found


def edit(host: Host, old: str, new: str) -> None:
    text = host.file.read_text()
    assert old in text
    host.file.write_text(text.replace(old, new))


def test_a_route_of_others_in_the_way_leaves_all_as_it_was(paris: Host) -> None:
    ip(paris, "link add lan type veth peer name lan2")
    ip(paris, "link set lan up")
    ip(paris, "route add 10.2.0.0/16 dev lan metric 50")
    before = everything(paris)
    done = paris.plutino("apply", paris.file)
    assert done.returncode == 1
    assert "hint: a route of others has the same prefix and metric" in done.stderr
    assert "could not be undone" not in done.stderr
    assert everything(paris) == before


def test_plan_prints_what_apply_does_and_a_second_apply_does_nothing(paris: Host) -> None:
    before = everything(paris)
    planned = steps(paris, "plan")
    assert everything(paris) == before
    assert steps(paris, "apply") == planned
    kinds = {"interface", "address", "route", "policy", "sa", "nftables"}
    assert {step["kind"] for step in planned} == kinds
    assert steps(paris, "plan") == []
    assert steps(paris, "apply") == []
    assert paris.plutino("apply", paris.file).stdout == "nothing to do\n"
    assert paris.plutino("down").returncode == 0
    assert everything(paris) == before


def test_an_edit_touches_only_what_changed(paris: Host) -> None:
    steps(paris, "apply")
    edit(paris, '"10.2.0.0/16"', '"10.2.0.0/16", "10.3.0.0/16"')
    planned = steps(paris, "plan")
    assert steps(paris, "apply") == planned
    assert [(step["action"], step["kind"]) for step in planned] == [("create", "route")] * 2
    assert all("10.3.0.0/16" in step["object"] for step in planned)
    edit(paris, ', "10.3.0.0/16"', "")
    assert [step["action"] for step in steps(paris, "apply")] == ["delete", "delete"]


def test_what_others_made_stays(paris: Host) -> None:
    ip(paris, "link add other type veth peer name otherpeer")
    ip(paris, "link set other up")
    ip(paris, "link set otherpeer up")
    for metric, protocol in ((7, "static"), (60, "bird")):
        ip(paris, f"route add 10.2.0.0/16 dev other metric {metric} proto {protocol}")
    before = everything(paris)
    steps(paris, "apply")
    assert steps(paris, "apply") == []
    assert "dev other proto bird" in ip(paris, "route show")
    assert paris.plutino("down").returncode == 0
    assert everything(paris) == before


def test_a_step_that_is_refused_half_way_undoes_all_before_it(paris: Host) -> None:
    ip(paris, "route add 10.2.0.0/16 dev wire metric 50 proto static")
    before = everything(paris)
    done = paris.plutino("apply", paris.file)
    assert done.returncode == 1
    assert "undone" in done.stderr
    assert "ip route show" in done.stderr
    assert everything(paris) == before
    ip(paris, "route delete 10.2.0.0/16 dev wire metric 50")
    steps(paris, "apply")


def test_a_refused_edit_leaves_the_tunnel_that_ran(paris: Host) -> None:
    steps(paris, "apply")
    good = paris.file.read_text()
    before = everything(paris)
    ip(paris, "route add 10.3.0.0/16 dev wire metric 50 proto static")
    edit(paris, '"10.2.0.0/16"', '"10.3.0.0/16"')
    assert paris.plutino("apply", paris.file).returncode == 1
    ip(paris, "route delete 10.3.0.0/16 dev wire metric 50")
    assert everything(paris) == before
    paris.file.write_text(good)
    assert steps(paris, "apply") == []


def test_another_key_of_the_same_spi_is_taken_into_use(paris: Host) -> None:
    """UPDSA would leave the old key in force, so the SA is made anew."""
    steps(paris, "apply")
    keys = paris.folder / "paris-berlin.keys"
    text = keys.read_text()
    material = next(line for line in text.splitlines() if line.startswith("key")).split('"')[1]
    keys.write_text(text.replace(material, "00" * (len(material) // 2), 1))
    planned = steps(paris, "plan")
    assert [(step["action"], step["kind"]) for step in planned] == [
        ("delete", "sa"),
        ("create", "sa"),
    ]
    assert steps(paris, "apply") == planned
    assert steps(paris, "apply") == []
