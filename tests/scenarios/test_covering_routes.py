"""Routes that cover the peer's own address: /32 to /32, and everything."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest

from plutino.control.report import State
from plutino.lab.demo import BERLIN, OUTER, PARIS
from plutino.lab.hosts import Host
from plutino.lab.traffic import ping
from plutino.lab.wire import FrameKind
from tests.support.covering_routes import ELSEWHERE, route
from tests.support.fault_stream import state_of
from tests.support.ip_command import ip
from tests.support.lab import Pair, running_pair
from tests.support.until import until

pytestmark = pytest.mark.root

SHOWS = ("rule", "-6 rule", "route show table all", "-6 route show table all", "link")


def shown(host: Host) -> list[str]:
    """What `ip` shows of rules, routes and links, but for what the kernel counts down."""
    return [re.sub(r"expires \d+sec ?", "", ip(host, show)) for show in SHOWS]


@contextmanager
def pair_with(plane: str, paris: str, berlin: str) -> Iterator[Pair]:
    with running_pair(plane=plane, start=False) as pair:
        ip(pair.paris, "route add default via 192.0.2.254 dev wire")
        ip(pair.paris, "-6 route add default via 2001:db8::ffff dev wire")
        for address in ELSEWHERE.values():
            ip(pair.berlin, f"address add {address} dev lo")
        route(pair.paris, paris)
        route(pair.berlin, berlin)
        for host in (pair.paris, pair.berlin):
            host.start_daemon()
        for host in (pair.paris, pair.berlin):
            host.wait_until_up()
        yield pair


def esp_frames(pair: Pair) -> int:
    pair.tap.catch_up()
    return pair.tap.count(FrameKind.ESP)


def peer(version: int, host: str) -> str:
    return f'"{OUTER[version][host]}/{32 if version == 4 else 128}"'


def test_the_peers_own_address_is_inside_the_tunnel(plane: str) -> None:
    with pair_with(plane, peer(4, BERLIN), peer(4, PARIS)) as pair:
        assert len(ip(pair.paris, "rule show").splitlines()) == 4
        before = esp_frames(pair)
        assert ping(pair.paris.namespace, ip_address(OUTER[4][BERLIN]))[0] == 3
        assert ping(pair.berlin.namespace, ip_address(OUTER[4][PARIS]))[0] == 3
        assert esp_frames(pair) - before == 12
        pair.assert_nothing_in_clear()


@pytest.mark.parametrize("version", [4, 6])
def test_everything_goes_into_the_tunnel(plane: str, version: int) -> None:
    inner = '"10.255.0.0/31", "fd00:1::/127"'
    with pair_with(plane, '"0.0.0.0/0", "::/0"', inner) as pair:
        before = esp_frames(pair)
        assert ping(pair.paris.namespace, ip_address(ELSEWHERE[version]))[0] == 3
        assert esp_frames(pair) - before == 6
        pair.assert_nothing_in_clear()
        main = ip(pair.paris, f"-{version} route show default")
        assert main.startswith("default via")
        assert "ipsec1" not in main


def test_what_main_knows_better_stays_outside(plane: str) -> None:
    with pair_with(plane, '"0.0.0.0/0", "::/0"', '"10.255.0.0/31"') as pair:
        before = esp_frames(pair)
        assert ping(pair.paris.namespace, ip_address(OUTER[4][BERLIN]))[0] == 3
        assert esp_frames(pair) == before


@pytest.mark.parametrize(
    "fault",
    [
        "link del ipsec1",
        "link set ipsec1 down",
        "route flush table 134340",
        "rule del priority 13401",
        "rule del priority 13400",
    ],
)
def test_what_others_break_is_healed_and_nothing_leaks(plane: str, fault: str) -> None:
    with pair_with(plane, '"0.0.0.0/0"', '"10.255.0.0/31"') as pair:
        ip(pair.paris, fault)
        until(
            lambda: (
                state_of(pair.paris) is State.UP
                and ping(pair.paris.namespace, ip_address(ELSEWHERE[4]), count=1)[0] == 1
            ),
            "it is healed",
        )
        assert ip(pair.paris, "rule show").count("13401:") == 1
        if "rule" not in fault:
            pair.assert_nothing_in_clear()


def test_nothing_is_left(plane: str) -> None:
    with running_pair(plane=plane, start=False) as pair:
        ip(pair.paris, "route add default via 192.0.2.254 dev wire")
        # The kernel itself changes routes until its own addresses are ready.
        until(lambda: ip(pair.paris, "-6 address show tentative") == "", "addresses are ready")
        before = shown(pair.paris)
        route(pair.paris, '"0.0.0.0/0", "::/0", "192.0.2.0/25"')
        done = pair.paris.plutino("apply", pair.paris.file)
        assert done.returncode == 0, done.stderr
        assert pair.paris.plutino("apply", pair.paris.file).stdout == "nothing to do\n"
        assert ip(pair.paris, "rule show").count("134") >= 4
        done = pair.paris.plutino("down")
        assert done.returncode == 0, done.stderr
        assert shown(pair.paris) == before


def test_a_strict_reverse_path_filter_is_told_with_its_cure(plane: str) -> None:
    with pair_with(plane, '"0.0.0.0/0"', '"10.255.0.0/31"') as pair:
        ip(pair.paris, "address flush dev wire scope global")
        ip(pair.paris, f"address add {OUTER[4][PARIS]}/32 dev wire")
        ip(pair.paris, "route add 192.0.2.254 dev wire")
        ip(pair.paris, "route add default via 192.0.2.254 dev wire onlink")
        for setting, is_told in ((1, True), (2, False)):
            with pair.paris.namespace.entered():
                path = Path("/proc/sys/net/ipv4/conf/wire/rp_filter")
                path.write_text(str(setting))
            done = pair.paris.plutino("apply", pair.paris.file)
            assert ("rp_filter is strict on wire" in done.stderr) is is_told, done.stderr
            assert done.returncode == (3 if is_told else 0)
