"""An interface in a VRF, whose table holds its routes, and outer packets in a VRF."""

import subprocess
from ipaddress import ip_address

import pytest

from plutino.lab.demo import BERLIN, INNER
from plutino.lab.hosts import Host
from plutino.lab.traffic import ping
from tests.support.lab import Pair, running_pair

pytestmark = pytest.mark.guest


def ip(host: Host, command: str) -> str:
    with host.namespace.entered():
        done = subprocess.run(["ip", *command.split()], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {command}: {done.stderr}"
    return done.stdout


def apply(pair: Pair) -> None:
    for host in (pair.paris, pair.berlin):
        done = host.plutino("apply", host.file)
        assert done.returncode == 0, done.stderr


def with_options(host: Host, options: str) -> None:
    host.file.write_text(f"{host.file.read_text()}\n[interfaces.ipsec1]\n{options}\n")


def reaches(host: Host, target: str) -> bool:
    """Whether an echo from inside the VRF is answered (SO_BINDTODEVICE does what a VRF asks)."""
    with host.namespace.entered():
        done = subprocess.run(
            ["ping", "-I", "red", "-c", "1", "-W", "2", target], capture_output=True, check=False
        )
    return done.returncode == 0


@pytest.mark.parametrize("plane", ["kernel", "userspace"])
def test_the_clear_side_in_a_vrf(plane: str) -> None:
    with running_pair(plane=plane, start=False) as pair:
        ip(pair.paris, "link add red type vrf table 77")
        ip(pair.paris, "link set red up")
        with_options(pair.paris, 'vrf = "red"')
        apply(pair)
        assert "ipsec1" in ip(pair.paris, "link show master red")
        assert "10.2.0.0/16 dev ipsec1" in ip(pair.paris, "route show table 77")
        assert "unreachable 10.2.0.0/16" in ip(pair.paris, "route show table 77")
        assert ip(pair.paris, "route show proto 134") == ""
        assert pair.paris.plutino("apply", pair.paris.file).stdout == "nothing to do\n"
        for target in INNER[BERLIN]:
            assert reaches(pair.paris, target)
        pair.assert_nothing_in_clear()
        assert pair.paris.plutino("down").returncode == 0
        assert "ipsec1" not in ip(pair.paris, "link show")
        assert "10.2.0.0/16" not in ip(pair.paris, "route show table 77")
        assert "red" in ip(pair.paris, "link show type vrf")


def test_outer_packets_in_the_vrf_of_the_underlying_device() -> None:
    with running_pair(plane="kernel", start=False) as pair:
        ip(pair.paris, "link add blue type vrf table 78")
        ip(pair.paris, "link set blue up")
        ip(pair.paris, "link set wire master blue")
        with_options(pair.paris, 'link = "wire"')
        apply(pair)
        assert "ipsec1@wire" in ip(pair.paris, "link show")
        assert pair.paris.plutino("apply", pair.paris.file).stdout == "nothing to do\n"
        assert ping(pair.paris.namespace, ip_address(INNER[BERLIN][0]))[0] == 3
        pair.assert_nothing_in_clear()


def test_a_live_interface_changes_its_link_and_its_vrf() -> None:
    with running_pair(plane="kernel", start=False) as pair:
        apply(pair)
        plain = pair.paris.file.read_text()
        ip(pair.paris, "link add red type vrf table 77")
        ip(pair.paris, "link set red up")
        for options, shown in (
            ('link = "wire"', "ipsec1@wire"),
            ('vrf = "red"', "master red"),
            ("", "ipsec1@NONE"),
        ):
            pair.paris.file.write_text(plain)
            with_options(pair.paris, options)
            apply(pair)
            assert shown in ip(pair.paris, "link show ipsec1")
            assert pair.paris.plutino("apply", pair.paris.file).stdout == "nothing to do\n"
        assert ping(pair.paris.namespace, ip_address(INNER[BERLIN][0]))[0] == 3


def test_a_vrf_that_is_not_there_is_told() -> None:
    with running_pair(plane="kernel", start=False) as pair:
        with_options(pair.paris, 'vrf = "red"')
        done = pair.paris.plutino("apply", pair.paris.file)
        assert done.returncode == 2
        assert "interfaces.ipsec1.vrf: there is no device red" in done.stderr
        assert "ipsec1" not in ip(pair.paris, "link show")
