"""What routing protocols need of an interface: multicast, a link-local address, and its state."""

import re
import socket
import struct
from collections.abc import Iterator
from contextlib import closing
from ipaddress import IPv6Address, ip_address

import pytest

from plutino.dataplane.engine_client import EngineClient
from plutino.lab.demo import BERLIN, INNER, PARIS
from plutino.lab.hosts import Host
from plutino.lab.traffic import ping
from plutino.model.link import Link
from plutino.netlink.route.constants import RouteMessage
from plutino.netlink.route.links import parse_link
from plutino.netlink.route_events import route_event_socket
from plutino.netlink.xfrm_client import XfrmClient
from tests.support.lab import Pair, running_pair
from tests.support.multihomed_lab import ADDRESS, MultihomedLab, multihomed_lab, run
from tests.support.two_uplinks import configure
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


def test_all_nodes_of_the_link_answer(pair: Pair) -> None:
    """``ping ff02::1%ipsec1``, by which neighbours are found by hand."""
    (there,) = link_local(pair.berlin)
    answers = run(pair.paris.namespace, "ping -6 -n -L -c 1 -W 5 ff02::1%ipsec1")
    assert f"from {there}%ipsec1" in answers
    pair.assert_nothing_in_clear()


def test_it_outlives_the_interface(pair: Pair) -> None:
    before = link_local(pair.paris)
    run(pair.paris.namespace, "ip link del ipsec1")
    until(lambda: "ipsec1" in run(pair.paris.namespace, "ip -brief link"), "it is made anew")
    until(lambda: link_local(pair.paris) == before, "the address is the same")
    until(lambda: is_running(pair.paris), "it runs")


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
    shown = run(host.namespace, "ip link show ipsec1")
    return "UP" in shown and "NO-CARRIER" not in shown


def blackhole_all(lab: MultihomedLab) -> None:
    """No path is left, and Paris has found out."""
    for link in ("isp1", "isp2"):
        lab.blackhole(link)
    until(lambda: not is_running(lab.paris), "it rests")
    assert "state DORMANT" in run(lab.paris.namespace, "ip link show ipsec1")


def test_an_interface_rests_while_no_path_is_left(plane: str) -> None:
    with multihomed_lab(plane) as lab:
        configure(lab)
        lab.start()
        assert is_running(lab.paris)
        blackhole_all(lab)
        until(lambda: not is_running(lab.berlin), "the other end too")
        lab.mend("isp2")
        until(lambda: is_running(lab.paris) and is_running(lab.berlin), "it runs again")
        assert ping(lab.paris.namespace, ip_address("10.255.0.1"))[0] == 3
        lab.assert_nothing_in_clear()


def test_one_that_is_made_anew_without_a_path_never_seems_to_run(plane: str) -> None:
    with multihomed_lab(plane) as lab:
        configure(lab)
        lab.start()
        blackhole_all(lab)
        with lab.paris.namespace.entered():
            index = socket.if_nametoindex("ipsec1")
        with lab.paris.namespace.entered(), route_event_socket() as events:
            run(lab.paris.namespace, "ip link del ipsec1")
            told: list[Link] = []

            def hear() -> bool:
                for message in events.receive(0):
                    if message.type == RouteMessage.NEWLINK:
                        told.append(parse_link(message.payload))
                return any(one.name == "ipsec1" and one.up and one.dormant for one in told)

            until(hear, "it is there again")
        again = [one for one in told if one.name == "ipsec1" and one.index != index]
        assert again
        assert not [one for one in again if one.up and not one.dormant]


def test_it_runs_while_a_standby_serves_for_an_uplink_without_address(plane: str) -> None:
    with multihomed_lab(plane) as lab:
        configure(lab)
        lab.start()
        run(lab.paris.namespace, f"ip address del {ADDRESS[4]['isp1']}/24 dev eth1")
        until(
            lambda: ping(lab.paris.namespace, ip_address("10.255.0.1"), count=1)[0] == 1,
            "the other uplink carries it",
        )
        assert is_running(lab.paris)
        before = link_local(lab.paris)
        run(lab.paris.namespace, "ip address add 192.0.2.77/24 dev eth1")
        until(
            lambda: (
                (report := lab.paris.status()) is not None
                and report.tunnels[0].local == "192.0.2.77"
            ),
            "the uplink has another address",
        )
        assert link_local(lab.paris) == before
        lab.assert_nothing_in_clear()


def delete_sas(host: Host, plane: str) -> None:
    """All of them, as others may."""
    if plane == "kernel":
        run(host.namespace, "ip xfrm state flush")
        return
    with closing(EngineClient(host.engine_socket)) as engine:
        client = XfrmClient(engine.socket)
        client.delete_sas([sa for sa, _use in client.list_sas()])


def test_it_rests_while_its_sas_are_gone_and_cannot_be_made(plane: str) -> None:
    """The disk refuses the numbers that they may use."""
    with running_pair(plane=plane) as pair:
        # no pass is under way that has seen the SAs before
        assert pair.paris.plutino("apply", pair.paris.file).returncode == 0
        in_the_way = pair.paris.folder / "state" / "default" / "sequences.new"
        in_the_way.mkdir()
        delete_sas(pair.paris, plane)
        until(lambda: not is_running(pair.paris), "it rests")
        assert "state DORMANT" in run(pair.paris.namespace, "ip link show ipsec1")
        in_the_way.rmdir()
        until(lambda: is_running(pair.paris), "it runs again", seconds=30)
        assert ping(pair.paris.namespace, ip_address(INNER[BERLIN][0]), count=1)[0] == 1
        pair.assert_nothing_in_clear()
