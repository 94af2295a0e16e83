"""Tunnels for some protocols and ports: what else goes to their networks goes nowhere."""

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EHOSTUNREACH, ENETUNREACH
from ipaddress import ip_address

import pytest

from plutino.control.report import State
from plutino.lab.demo import BERLIN, INNER, PARIS
from plutino.lab.hosts import Host
from plutino.lab.traffic import ping
from tests.support.ike_lab import ike_pair, passes, until_it_passes, use_ike
from tests.support.lab import Pair, running_pair
from tests.support.tcp import connects
from tests.support.until import until

NAMES = {PARIS: BERLIN, BERLIN: PARIS}
AT_BERLIN = ("tcp/5000-5002", "icmp/0", "ipv6-icmp")


def lines(host: Host, here: tuple[str, ...], there: tuple[str, ...]) -> None:
    """Selectors of a host, of everything: each protocol where its IP version has it."""

    def texts(packets: tuple[str, ...]) -> str:
        of_four = [f'"0.0.0.0/0[{one}]"' for one in packets if not one.startswith("ipv6")]
        of_six = [f'"::/0[{one}]"' for one in packets if not one.startswith("icmp")]
        return ", ".join((*of_four, *of_six))

    table = f"[tunnels.{NAMES[host.name]}]\n"
    text = host.file.read_text()
    assert table in text
    selectors = f"local-ts = [{texts(here)}]\nremote-ts = [{texts(there)}]\n"
    host.file.write_text(text.replace(table, table + selectors))


@contextmanager
def selecting(plane: str, *, by_ike: bool, everything_at: str | None = None) -> Iterator[Pair]:
    """Pings from Paris, and TCP to three ports of Berlin."""
    with running_pair(start=False, plane=plane) as pair:
        sides = ("tcp", "icmp/8", "ipv6-icmp"), AT_BERLIN
        for host, here, there in ((pair.paris, *sides), (pair.berlin, *sides[::-1])):
            if host.name != everything_at:
                lines(host, here, there)
            if by_ike:
                use_ike(host, NAMES[host.name])
        for host in (pair.paris, pair.berlin):
            host.start_daemon()
        for host in (pair.paris, pair.berlin):
            host.wait_until_up()
        yield pair


def pings(source: Host, target: Host, place: int = 0) -> bool:
    address = ip_address(INNER[target.name][place])
    return ping(source.namespace, address, count=1, timeout=1)[0] == 1


def assert_selected(pair: Pair) -> None:
    paris, berlin = pair.paris, pair.berlin
    until(lambda: pings(paris, berlin), "an echo request of Paris is answered")
    for place in (0, 1):
        assert [connects(paris, berlin, port, place) for port in range(4999, 5004)] == [
            False, True, True, True, False,
        ]  # fmt: skip
        assert not connects(berlin, paris, 5001, place), "its port is not that of the answers"
    assert not pings(berlin, paris), "Berlin answers, and asks nothing"
    assert pings(paris, berlin, 1)
    assert pings(berlin, paris, 1), "ipv6-icmp is without a type"
    pair.assert_nothing_in_clear()


@pytest.mark.parametrize("by_ike", [False, True], ids=["static", "ike"])
def test_only_what_is_selected_passes(plane: str, *, by_ike: bool) -> None:
    with selecting(plane, by_ike=by_ike) as pair:
        assert_selected(pair)
        plan = pair.paris.plutino("plan", pair.paris.file).stdout
        assert plan == "nothing to do\n"


def test_what_the_peer_sends_beyond_it_is_dropped_and_counted(plane: str) -> None:
    """And what this end may not send ends at the interface, whose sender is told."""
    with selecting(plane, by_ike=False, everything_at=PARIS) as pair:
        until(lambda: pings(pair.paris, pair.berlin), "an echo request of Paris is answered")
        counted = pair.drops(pair.berlin).get("XfrmInNoPols", 0)
        assert not connects(pair.paris, pair.berlin, 5003)
        assert pair.drops(pair.berlin)["XfrmInNoPols"] > counted
        address = ip_address(INNER[PARIS][0])
        with pair.berlin.namespace.entered(), socket.socket() as client:
            client.settimeout(5)
            assert client.connect_ex((str(address), 5001)) in (EHOSTUNREACH, ENETUNREACH)
        pair.assert_nothing_in_clear()


def test_an_end_that_is_for_all_of_it_takes_what_the_other_wants(plane: str) -> None:
    with selecting(plane, by_ike=True, everything_at=PARIS) as pair:
        assert_selected(pair)
        status = pair.paris.plutino("status").stdout
        assert "    for 0.0.0.0/0[tcp] - 0.0.0.0/0[tcp/5000-5002]\n" in status
        assert "    for 0.0.0.0/0[icmp/8] - 0.0.0.0/0[icmp/0]\n" in status


def test_a_child_sa_for_each_pair_of_selectors(plane: str) -> None:
    """Without any, for each IP version; each is replaced by itself, and both go on."""
    own = 'child-sas = "per-pair"'
    with ike_pair(plane, paris=f"{own}\nrekey-after = 10\nrekey-jitter = 0.5", berlin=own) as pair:
        until_it_passes(pair)
        assert "    for " not in pair.paris.plutino("status").stdout
        report = pair.paris.status()
        assert report is not None
        assert [one.name for one in report.tunnels] == [BERLIN, f"{BERLIN}#2"]
        assert {one.state for one in report.tunnels} == {State.UP}
        first = {one.name: sending(pair, one.name) for one in report.tunnels}
        assert len(set(first.values())) == 2
        until(
            lambda: all(sending(pair, name) != spi for name, spi in first.items()),
            "both have new keys",
            seconds=30,
        )
        assert passes(pair.paris)
        assert passes(pair.paris, 1)
        pair.assert_nothing_in_clear()


def sending(pair: Pair, tunnel: str) -> str:
    report = pair.paris.status()
    assert report is not None
    (found,) = (one for one in report.tunnels if one.name == tunnel)
    return next(sa.spi for sa in found.sas if sa.direction == "out")


def test_a_reload_makes_a_child_sa_for_each_pair(plane: str) -> None:
    """While the one for all of them is there, whose policies would be those of the others."""
    with ike_pair(plane) as pair:
        until_it_passes(pair)
        for host in (pair.paris, pair.berlin):
            host.file.write_text(f'{host.file.read_text()}\nchild-sas = "per-pair"\n')
            assert host.daemon is not None
            host.daemon.send_signal(signal.SIGHUP)
        until(lambda: tunnels_up(pair.paris) == [BERLIN, f"{BERLIN}#2"], "there are two")
        until_it_passes(pair)
        assert "not taken over" not in pair.paris.last_words()
        pair.assert_nothing_in_clear()


def tunnels_up(host: Host) -> list[str]:
    report = host.status()
    return [] if report is None else [one.name for one in report.tunnels if one.state is State.UP]
