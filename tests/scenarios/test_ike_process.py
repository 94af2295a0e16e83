"""What parses the network: it has no privileges, and what becomes of it harms no tunnel."""

import os
import signal
import socket
from functools import partial
from ipaddress import ip_address
from pathlib import Path

import pytest

from plutino.lab.demo import BERLIN, INNER
from plutino.lab.hosts import Host
from plutino.lab.traffic import ping
from tests.support.ike_lab import ike_pair, ike_processes, spis, until_it_passes
from tests.support.until import until

pytestmark = pytest.mark.root


def status_of(process: Path) -> dict[str, list[str]]:
    lines = (process / "status").read_text().splitlines()
    return {name: rest.split() for name, _, rest in (line.partition(":") for line in lines)}


def has_another(host: Host, before: Path) -> bool:
    return ike_processes(host) not in ([before], [])


def test_it_can_do_nothing_but_ike(plane: str) -> None:
    with ike_pair(plane) as pair:
        until_it_passes(pair)
        (process,) = ike_processes(pair.paris)
        status = status_of(process)
        for name in ("Uid", "Gid"):
            assert status[name] == ["65534"] * 4
        assert status["Groups"] == []
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert status[name] == ["0000000000000000"]
        assert status["NoNewPrivs"] == ["1"]
        assert status.get("Seccomp", ["2"]) == ["2"]  # user-mode Linux has no such filters
        assert list((process / "root").iterdir()) == []
        for kind in ("net", "ipc", "uts"):
            own = os.readlink(process / "ns" / kind)
            assert pair.paris.daemon is not None
            assert own != os.readlink(f"/proc/{pair.paris.daemon.pid}/ns/{kind}")
        files = {os.readlink(one).partition(":")[0] for one in (process / "fd").iterdir()}
        assert files <= {"socket", "/dev/null", "anon_inode", str(pair.paris.log)}
        limits = (process / "limits").read_text()
        assert "Max processes             0                    0" in limits


@pytest.mark.parametrize("encapsulation", ["esp", "udp"])
def test_another_one_goes_on_where_it_was_killed(plane: str, encapsulation: str) -> None:
    with ike_pair(plane, encapsulation=encapsulation) as pair:
        until_it_passes(pair)
        before = spis(pair.paris)
        (process,) = ike_processes(pair.paris)
        os.kill(int(process.name), signal.SIGKILL)
        assert ping(pair.paris.namespace, ip_address(INNER[BERLIN][0]), count=20)[0] == 20
        until(partial(has_another, pair.paris, process), "there is another one")
        assert ping(pair.paris.namespace, ip_address(INNER[BERLIN][0]), count=20)[0] == 20
        assert "the IKE process has ended (signal 9)" in pair.paris.last_words()
        assert spis(pair.paris) == before
        # It is alive: what one end deletes, the other lets go of.
        assert pair.berlin.plutino("down").returncode == 0
        until(lambda: not spis(pair.paris), "Paris has heard that Berlin is gone")
        pair.assert_nothing_in_clear()


def test_it_may_be_killed_again_and_again(plane: str) -> None:
    with ike_pair(plane) as pair:
        until_it_passes(pair)
        before = spis(pair.paris)
        for _ in range(3):
            (process,) = ike_processes(pair.paris)
            os.kill(int(process.name), signal.SIGKILL)
            until(partial(has_another, pair.paris, process), "there is another one")
        until(lambda: "IKE up" in pair.paris.plutino("status").stdout, "it goes on")
        assert len(ike_processes(pair.paris)) == 1
        assert spis(pair.paris) == before
        pair.assert_nothing_in_clear()


def test_it_ends_with_its_daemon(plane: str) -> None:
    with ike_pair(plane) as pair:
        until_it_passes(pair)
        (process,) = ike_processes(pair.paris)
        assert pair.paris.daemon is not None
        pair.paris.daemon.kill()
        until(lambda: not process.exists(), "the IKE process has ended, too")
        pair.paris.start_daemon()
        pair.paris.wait_until_up()
        until_it_passes(pair)


def test_where_another_has_its_port_nothing_is_made(plane: str) -> None:
    with ike_pair(plane, start=False) as pair:
        with pair.paris.namespace.entered():
            other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            other.bind(("", 500))
        with other:
            done = pair.paris.plutino("run", pair.paris.file)
        assert done.returncode == 1
        assert "open UDP port 500 for IPv4" in done.stderr
        assert "another IKE daemon" in done.stderr
        assert pair.paris.plutino("down").stdout == "nothing to do\n"
