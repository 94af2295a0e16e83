"""What belongs into a tunnel never leaves in clear, whatever happens to routes and links."""

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address

import pytest

from plutino.config.static_keys import encode_keys, generate_pair
from plutino.control.report import State
from plutino.lab.demo import BERLIN, INNER, OUTER, PARIS
from plutino.lab.hosts import plutino_program
from plutino.lab.traffic import ping
from tests.support.exhaustive import alternating
from tests.support.fault_stream import Stream, state_of
from tests.support.lab import Pair, running_pair
from tests.support.multihomed_lab import run
from tests.support.until import until

pytestmark = pytest.mark.root

BEHIND = {4: "10.2.0.7", 6: "2001:db8:2::7"}
"""In a prefix of the tunnel, at Berlin."""


@contextmanager
def guarded(plane: str, guard: str, routes: str = "") -> Iterator[Pair]:
    """Paris has a default route of its own, by which everything could leave."""
    with running_pair(plane=plane, start=False) as pair:
        run(
            pair.paris.namespace,
            f"ip route add default via {OUTER[4][BERLIN]} dev wire",
            f"ip -6 route add default via {OUTER[6][BERLIN]} dev wire",
        )
        for address in BEHIND.values():
            run(pair.berlin.namespace, f"ip address add {address} dev lo")
        text = pair.paris.file.read_text()
        if routes:
            text = re.sub(r"^routes = .*$", f"routes = [{routes}]", text, flags=re.M)
        pair.paris.file.write_text(f'guard = "{guard}"\n{text}')
        for host in (pair.paris, pair.berlin):
            host.start_daemon()
        for host in (pair.paris, pair.berlin):
            host.wait_until_up()
        yield pair


def command(words: str) -> Callable[[Pair], object]:
    return lambda pair: run(pair.paris.namespace, *words.split("; "))


def kill_daemon(pair: Pair) -> None:
    assert pair.paris.daemon is not None
    pair.paris.daemon.send_signal(signal.SIGKILL)
    pair.paris.daemon.wait()
    pair.paris.start_daemon()


def stop_daemon(pair: Pair) -> None:
    assert pair.paris.daemon is not None
    pair.paris.daemon.terminate()
    pair.paris.daemon.wait()
    pair.paris.start_daemon()


MAIN = (
    "ip route flush table main; ip -6 route flush table main; "
    "ip route add 192.0.2.0/24 dev wire; ip -6 route add 2001:db8::/64 dev wire; "
    f"ip route add default via {OUTER[4][BERLIN]} dev wire; "
    f"ip -6 route add default via {OUTER[6][BERLIN]} dev wire"
)
"""What is left is what leads into the open."""


def end_transforms(pair: Pair) -> None:
    """The engine, or what the kernel has of it."""
    report = pair.paris.status()
    assert report is not None
    if report.engine is not None:
        os.kill(report.engine.pid, signal.SIGKILL)
    else:
        run(pair.paris.namespace, "ip xfrm state flush", "ip xfrm policy flush")


def change_keys(pair: Pair) -> None:
    """New SAs for old ones, by new key files at both ends."""
    for host, keys in zip((pair.paris, pair.berlin), generate_pair(os.urandom), strict=True):
        peer = BERLIN if host is pair.paris else PARIS
        file = host.folder / f"{host.name}-{peer}.keys"
        file.write_text(encode_keys(keys, used_at=host.name, peer=peer))
    for host in (pair.paris, pair.berlin):
        assert host.plutino("apply", host.file).returncode == 0


ROUTES = "ip route flush proto 134; ip -6 route flush proto 134"
FAULTS = {
    "interface deleted": (command("ip link del ipsec1"), "on"),
    "interface down": (command("ip link set ipsec1 down"), "on"),
    "addresses flushed": (command("ip address flush dev ipsec1"), "on"),
    "daemon killed": (kill_daemon, "on"),
    "daemon stopped": (stop_daemon, "on"),
    "transforms gone": (end_transforms, "on"),
    "keys changed": (change_keys, "on"),
    "routes flushed": (command(ROUTES), "strict"),
    "main made anew": (command(MAIN), "strict"),
    "routes flushed and interface deleted": (command(f"{ROUTES}; ip link del ipsec1"), "strict"),
}


@pytest.mark.parametrize(("fault", "version"), alternating(FAULTS))
def test_nothing_leaks_under_traffic(plane: str, fault: str, version: int) -> None:
    strike, guard = FAULTS[fault]
    with guarded(plane, guard) as pair, Stream(pair, BEHIND[version]) as stream:
        strike(pair)
        until(lambda: state_of(pair.paris) is State.UP, "it is healed")
        stream.until_it_passes()
        pair.tap.catch_up()
        assert pair.tap.marked == 0, "in clear"


@pytest.mark.parametrize(("guard", "leaks"), [("on", True), ("strict", False)])
def test_routes_alone_hold_no_longer_than_they_are_there(
    plane: str, guard: str, leaks: bool
) -> None:
    """With nobody there to heal it: what each guard is good for."""
    with guarded(plane, guard) as pair:
        assert pair.paris.daemon is not None
        pair.paris.daemon.kill()
        pair.paris.daemon.wait()
        run(pair.paris.namespace, *MAIN.split("; "))
        for address in BEHIND.values():
            ping(pair.paris.namespace, ip_address(address), timeout=0.2)
        pair.tap.catch_up()
        assert (pair.tap.marked > 0) is leaks


def test_what_the_guard_has_dropped_is_counted(plane: str) -> None:
    with guarded(plane, "strict") as pair:
        assert pair.paris.daemon is not None
        pair.paris.daemon.kill()
        pair.paris.daemon.wait()
        run(pair.paris.namespace, *ROUTES.split("; "), "ip link del ipsec1")
        for address in (*BEHIND.values(), INNER[BERLIN][0]):
            assert ping(pair.paris.namespace, ip_address(address), timeout=0.2)[0] == 0
        pair.tap.catch_up()
        assert pair.tap.marked == 0
        shown = pair.paris.plutino("status", pair.paris.file).stdout
        assert re.search(r"\b9 x GuardDrop: a packet of a tunnel's prefix", shown), shown


def test_a_table_that_others_delete_is_back_at_once(plane: str) -> None:
    with guarded(plane, "strict") as pair:
        before = run(pair.paris.namespace, "nft list ruleset")
        for words in ("nft delete table inet plutino_default", "nft flush ruleset"):
            run(pair.paris.namespace, words)
            until(
                lambda: run(pair.paris.namespace, "nft list ruleset") == before,
                "it is back, long before the next look at everything",
                seconds=5,
            )


def test_what_pretends_to_come_from_a_tunnel_is_dropped(plane: str) -> None:
    """Berlin sends in clear, from an address behind the tunnel to one of Paris."""
    with guarded(plane, "strict") as pair:
        run(pair.berlin.namespace, f"ip route add {OUTER[4][PARIS]}/32 dev wire src {BEHIND[4]}")
        assert ping(pair.berlin.namespace, ip_address(OUTER[4][PARIS]), timeout=0.2)[0] == 0
        report = pair.paris.status()
        assert report is not None
        assert {one.name: one.packets for one in report.drops}["GuardDrop"] == 3


def test_everything_is_guarded_but_what_main_knows_better(plane: str) -> None:
    beyond = "203.0.113.9"
    with guarded(plane, "strict", '"0.0.0.0/0", "::/0"') as pair:
        run(pair.berlin.namespace, f"ip address add {beyond} dev lo")
        assert ping(pair.paris.namespace, ip_address(beyond))[0] == 3
        assert ping(pair.paris.namespace, ip_address(OUTER[4][BERLIN]))[0] == 3
        pair.tap.catch_up()
        before = pair.tap.marked
        assert before > 0, "the network on the device itself is reached in clear"
        with Stream(pair, beyond) as stream:
            for fault in (
                "ip route flush table 134340",
                "ip rule del priority 13401",
                "ip link del ipsec1",
            ):
                run(pair.paris.namespace, fault)
                until(lambda: state_of(pair.paris) is State.UP, "it is healed")
                stream.until_it_passes()
        pair.tap.catch_up()
        assert pair.tap.marked == before


def test_without_nftables_the_strict_guard_is_refused(plane: str) -> None:
    with running_pair(plane=plane, start=False) as pair:
        pair.paris.file.write_text(f'guard = "strict"\n{pair.paris.file.read_text()}')
        with pair.paris.namespace.entered():
            done = subprocess.run(
                [plutino_program(), "apply", pair.paris.file],
                env=pair.paris.environment() | {"PATH": "/nonexistent"},
                capture_output=True,
                text=True,
                check=False,
            )
        assert done.returncode == 2
        assert "guard: needs nftables" in done.stderr
