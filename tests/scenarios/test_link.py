"""What routing protocols need of an interface: multicast, a link-local address, and its state."""

import re
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv6Address, ip_address

import pytest

from plutino.lab.demo import BERLIN, PARIS
from plutino.lab.hosts import Host
from plutino.lab.traffic import ping
from tests.scenarios.test_uplinks import configure
from tests.support.lab import Pair, running_pair
from tests.support.multihomed_lab import multihomed_lab, run
from tests.support.until import until

pytestmark = pytest.mark.root

OSPF = 89


@pytest.fixture(scope="module")
def pair(plane: str) -> Iterator[Pair]:
    with running_pair(plane=plane) as made:
        yield made


def link_local(host: Host) -> list[str]:
    shown = run(host.namespace, "ip -6 -o address show dev ipsec1 scope link")
    return re.findall(r"inet6 (fe80::\S+)/64", shown)


def test_each_end_has_one_link_local_address_and_reaches_the_other(pair: Pair) -> None:
    (here,), (there,) = link_local(pair.paris), link_local(pair.berlin)
    assert here != there
    with pair.paris.namespace.entered():
        index = socket.if_nametoindex("ipsec1")
    assert ping(pair.paris.namespace, IPv6Address(f"{there}%{index}"))[0] == 3
    pair.assert_nothing_in_clear()


def test_it_outlives_the_interface(pair: Pair) -> None:
    before = link_local(pair.paris)
    run(pair.paris.namespace, "ip link del ipsec1")
    until(lambda: "ipsec1" in run(pair.paris.namespace, "ip -brief link"), "it is made anew")
    until(lambda: link_local(pair.paris) == before, "the address is the same")


@pytest.mark.parametrize(
    ("group", "family"), [("224.0.0.5", socket.AF_INET), ("ff02::5", socket.AF_INET6)]
)
def test_hellos_of_ospf_pass(pair: Pair, group: str, family: socket.AddressFamily) -> None:
    level = socket.IPPROTO_IP if family == socket.AF_INET else socket.IPPROTO_IPV6
    join = 35 if family == socket.AF_INET else 20  # IP_ADD_MEMBERSHIP, IPV6_JOIN_GROUP
    with pair.berlin.namespace.entered():
        index = socket.if_nametoindex("ipsec1")
        hearer = socket.socket(family, socket.SOCK_RAW, OSPF)
        packed = ip_address(group).packed
        request = (
            struct.pack("=4s4sI", packed, bytes(4), index)
            if family == socket.AF_INET
            else struct.pack("=16sI", packed, index)
        )
        hearer.setsockopt(level, join, request)
    with pair.paris.namespace.entered():
        sender = socket.socket(family, socket.SOCK_RAW, OSPF)
        index = socket.if_nametoindex("ipsec1")
        if family == socket.AF_INET:
            sender.setsockopt(
                level, socket.IP_MULTICAST_IF, struct.pack("=4s4sI", bytes(4), bytes(4), index)
            )
            target: tuple[str, int] | tuple[str, int, int, int] = (group, 0)
        else:
            target = (group, 0, 0, index)
    with hearer, sender:
        hearer.settimeout(5)
        sender.sendto(b"hello of a neighbour", target)
        assert hearer.recv(2048).endswith(b"hello of a neighbour")
    pair.assert_nothing_in_clear()


def test_multicast_that_others_turned_off_is_on_again(pair: Pair) -> None:
    run(pair.paris.namespace, "ip link set ipsec1 multicast off")
    until(lambda: "MULTICAST" in run(pair.paris.namespace, "ip link show ipsec1"), "it is on")


def test_nothing_of_the_kernels_own_enters_the_tunnel(plane: str) -> None:
    """Neither router solicitations nor reports of multicast listeners."""
    with running_pair(plane=plane) as pair:
        for name in (PARIS, BERLIN):
            host = pair.paris if name == PARIS else pair.berlin
            report = host.status()
            assert report is not None
            assert [sa.packets for sa in report.tunnels[0].sas] == [0, 0]


def test_an_interface_can_have_none_or_one_of_its_own(plane: str) -> None:
    with running_pair(plane=plane, start=False) as pair:
        for options, wanted in (("false", []), ('"fe80::7"', ["fe80::7"])):
            text = pair.paris.file.read_text().partition("[interfaces")[0]
            pair.paris.file.write_text(f"{text}[interfaces.ipsec1]\nlink-local = {options}\n")
            done = pair.paris.plutino("apply", pair.paris.file)
            assert done.returncode == 0, done.stderr
            assert link_local(pair.paris) == wanted


def test_a_host_without_ipv6_has_none(plane: str) -> None:
    with running_pair(plane=plane, start=False) as pair:
        run(pair.paris.namespace, "sysctl -qw net.ipv6.conf.default.disable_ipv6=1")
        text = re.sub(r', "fd00:1::\S*"', "", pair.paris.file.read_text())
        pair.paris.file.write_text(re.sub(r', "2001:db8:2::/48"', "", text))
        done = pair.paris.plutino("apply", pair.paris.file)
        assert done.returncode == 0, done.stderr
        assert link_local(pair.paris) == []


def is_running(host: Host) -> bool:
    return "NO-CARRIER" not in run(host.namespace, "ip link show ipsec1")


def test_an_interface_rests_while_no_path_is_left(plane: str) -> None:
    with multihomed_lab(plane) as lab:
        configure(lab)
        lab.start()
        assert is_running(lab.paris)
        for link in ("isp1", "isp2"):
            lab.blackhole(link)
        until(lambda: not is_running(lab.paris), "it rests")
        assert "state DORMANT" in run(lab.paris.namespace, "ip link show ipsec1")
        until(lambda: not is_running(lab.berlin), "the other end too")
        lab.mend("isp2")
        until(lambda: is_running(lab.paris) and is_running(lab.berlin), "it runs again")
        assert ping(lab.paris.namespace, ip_address("10.255.0.1"))[0] == 3
        lab.assert_nothing_in_clear()
