"""An interface in another network namespace than its keys and outer packets."""

import os
import re
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from plutino.control.report import State
from plutino.lab.demo import BERLIN, INNER
from plutino.lab.hosts import Host
from plutino.lab.namespaces import NetworkNamespace
from plutino.lab.traffic import ping
from plutino.netlink.route_client import RouteClient
from tests.support.fault_stream import state_of
from tests.support.lab import Pair, running_pair
from tests.support.until import until

pytestmark = pytest.mark.root


class Place:
    """A namespace that has a name as long as it is there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.come_back()

    @property
    def name(self) -> str:
        return str(self._path)

    def vanish(self) -> None:
        """Nothing is left of it, its name included."""
        self._path.unlink(missing_ok=True)
        self.namespace.close()

    def come_back(self) -> None:
        """A new one, which has the same name."""
        self.namespace = NetworkNamespace.create()
        self._path.symlink_to(f"/proc/{os.getpid()}/fd/{self.namespace.fileno()}")


@pytest.fixture
def red(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path / "red")
    yield place
    place.vanish()


def place_at(host: Host, namespace: str | None) -> None:
    text = re.sub(r"\[interfaces.ipsec1\]\nnamespace = .*\n", "", host.file.read_text())
    if namespace is not None:
        text += f'[interfaces.ipsec1]\nnamespace = "{namespace}"\n'
    host.file.write_text(text)


def passes(namespace: NetworkNamespace) -> bool:
    """Whether both inner families pass to Berlin."""
    return [ping(namespace, ip_address(text), count=1)[0] for text in INNER[BERLIN]] == [1, 1]


def links(namespace: NetworkNamespace) -> set[str]:
    with namespace.entered(), RouteClient() as routes:
        return {link.name for link in routes.list_links()}


def routes_of_ours(namespace: NetworkNamespace) -> int:
    with namespace.entered(), RouteClient() as routes:
        return len(routes.list_routes(protocol=134))


@pytest.fixture
def pair(plane: str, red: Place) -> Iterator[Pair]:
    """Paris has its clear side in the other namespace."""
    with running_pair(plane=plane, start=False) as pair:
        place_at(pair.paris, red.name)
        for host in (pair.paris, pair.berlin):
            host.start_daemon()
        for host in (pair.paris, pair.berlin):
            host.wait_until_up()
        yield pair
        pair.assert_nothing_in_clear()


def test_the_clear_side_is_there_and_the_keys_are_here(pair: Pair, red: Place) -> None:
    assert passes(red.namespace)
    assert links(red.namespace) == {"lo", "ipsec1"}
    assert "ipsec1" not in links(pair.paris.namespace)
    assert routes_of_ours(red.namespace) > 0
    assert routes_of_ours(pair.paris.namespace) == 0
    assert pair.paris.plutino("apply", pair.paris.file).stdout == "nothing to do\n"
    assert pair.paris.plutino("down").returncode == 0
    assert links(red.namespace) == {"lo"}
    assert routes_of_ours(red.namespace) == 0


def test_it_moves_home_and_away_again(pair: Pair, red: Place) -> None:
    place_at(pair.paris, None)
    done = pair.paris.plutino("apply", pair.paris.file)
    assert done.returncode == 0, done.stderr
    assert passes(pair.paris.namespace)
    assert links(red.namespace) == {"lo"}
    assert routes_of_ours(red.namespace) == 0
    place_at(pair.paris, red.name)
    done = pair.paris.plutino("apply", pair.paris.file)
    assert done.returncode == 0, done.stderr
    assert passes(red.namespace)
    assert "ipsec1" not in links(pair.paris.namespace)


def test_what_is_deleted_there_is_healed(pair: Pair, red: Place) -> None:
    with red.namespace.entered(), RouteClient() as routes:
        routes.delete_link("ipsec1")
    until(lambda: state_of(pair.paris) is State.UP and passes(red.namespace), "it is healed")


def test_a_namespace_that_comes_back_is_served_again(pair: Pair, red: Place) -> None:
    red.vanish()
    until(lambda: state_of(pair.paris) is State.DEGRADED, "its absence is seen")
    report = pair.paris.status()
    assert report is not None
    assert any("there is no network namespace" in problem for problem in report.problems)
    red.come_back()
    until(lambda: state_of(pair.paris) is State.UP and passes(red.namespace), "it is served again")


def test_a_missing_namespace_leaves_the_rest_alone(plane: str, red: Place) -> None:
    with running_pair(plane=plane, start=False) as pair:
        place_at(pair.paris, "no-such-namespace")
        done = pair.paris.plutino("apply", pair.paris.file)
        assert done.returncode == 3
        assert "there is no network namespace no-such-namespace" in done.stderr
        assert "ipsec1" not in links(pair.paris.namespace)


def test_nothing_is_left_where_the_namespace_went_before(plane: str, tmp_path: Path) -> None:
    red = Place(tmp_path / "red")
    with running_pair(plane=plane, start=False) as pair:
        place_at(pair.paris, red.name)
        assert pair.paris.plutino("apply", pair.paris.file).returncode == 0
        red.vanish()
        told = pair.paris.plutino("status", pair.paris.file)
        assert told.returncode == 3
        assert f"problem: there is no network namespace {red.name}" in told.stdout
        done = pair.paris.plutino("down")
        assert (done.returncode, done.stderr) == (0, "")
        assert not (pair.paris.folder / "run" / "default").exists()
