"""Two tunnels to one site: one carries the traffic, or both do, and a lost one is left."""

import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from ipaddress import ip_address

import pytest

from plutino.control.report import Health
from plutino.lab.hosts import Host
from plutino.lab.namespaces import NetworkNamespace
from plutino.lab.traffic import ping
from tests.support.exhaustive import alternating
from tests.support.fault_stream import Stream
from tests.support.grouped_lab import (
    BERLIN,
    PARIS,
    SPREAD,
    GroupedLab,
    active,
    group_of,
    grouped_lab,
    inside,
)
from tests.support.multihomed_lab import run
from tests.support.until import until

pytestmark = pytest.mark.root

SLOWNESS = 5
"""Other tests run beside these; alone on the machine the factor is one."""
FAULTS = ("peer gone", "blackholed", "link down")


@pytest.fixture
def lab(plane: str) -> Iterator[GroupedLab]:
    with grouped_lab(plane) as made:
        yield made


def passes(lab: GroupedLab, version: int = 4) -> bool:
    there, back = ip_address(inside(BERLIN, version)), ip_address(inside(PARIS, version))
    return (
        ping(lab.paris.namespace, there, count=1, timeout=0.5)[0] == 1
        and ping(lab.berlin.namespace, back, count=1, timeout=0.5)[0] == 1
    )


def shown(namespace: NetworkNamespace) -> list[str]:
    """What is there of rules, routes, links and nftables, but for what the kernel counts down."""
    shows = ("rule", "-6 rule", "route show table all", "-6 route show table all", "link")
    told = [run(namespace, f"ip {one}") for one in shows]
    return [
        re.sub(r"expires \d+sec ?", "", one) for one in (*told, run(namespace, "nft list ruleset"))
    ]


def do_fault(lab: GroupedLab, fault: str, way: str = "red") -> None:
    if fault == "blackholed":
        lab.blackhole(way)
    elif fault == "link down":
        run(lab.router, f"ip link set {way}1 down")
    else:
        assert lab.berlin.daemon is not None
        lab.berlin.daemon.kill()
        lab.berlin.daemon.wait()
        lab.forget_sas(lab.berlin, way)


def undo_fault(lab: GroupedLab, fault: str, way: str = "red") -> None:
    if fault == "blackholed":
        lab.mend(way)
    elif fault == "link down":
        run(lab.router, f"ip link set {way}1 up")
    else:
        lab.berlin.start_daemon()


def both_use(lab: GroupedLab, *ways: str) -> bool:
    return all(active(host) == ways for host in lab.hosts)


def healths(host: Host) -> list[Health]:
    report = group_of(host)
    return [] if report is None else [one.health for one in report.members]


def all_answer(host: Host) -> bool:
    return healths(host) == [Health.OK] * 2


def says(host: Host, words: str) -> bool:
    return words in host.plutino("status").stdout


def by_way(lab: GroupedLab, version: int = 4) -> dict[str, int]:
    """Frames on each way of one ping to each of Berlin's addresses, and of its answers."""
    before = {way: lab.traffic(way) for way in ("red", "blue")}
    for last in SPREAD:
        assert ping(lab.paris.namespace, ip_address(inside(BERLIN, version, last)), count=1)[0] == 1
    return {way: lab.traffic(way) - before[way] for way in before}


@pytest.mark.parametrize(("fault", "version"), alternating(FAULTS))
def test_a_lost_tunnel_is_left_and_used_again(lab: GroupedLab, fault: str, version: int) -> None:
    lab.configure()
    lab.start()
    assert by_way(lab, version) == {"red": 2 * len(SPREAD), "blue": 0}
    until(lambda: all_answer(lab.paris) and all_answer(lab.berlin), "both tunnels answer")
    do_fault(lab, fault)
    until(lambda: active(lab.paris) == ("blue",), "blue carries the traffic")
    if fault != "peer gone":
        until(lambda: active(lab.berlin) == ("blue",), "the other end sees it too")
        until(lambda: passes(lab, version), "both ends use blue")
        assert by_way(lab, version) == {"red": 0, "blue": 2 * len(SPREAD)}
    report = group_of(lab.paris)
    assert report is not None
    assert [one.health for one in report.members] == [Health.LOST, Health.OK]
    assert "group 'site': tunnel 'red' is lost, 'blue' carries its traffic" in (
        lab.paris.plutino("status").stdout
    )
    undo_fault(lab, fault)
    until(lambda: active(lab.paris) == ("red",) == active(lab.berlin), "they go back")
    until(lambda: passes(lab, version), "packets pass")
    assert by_way(lab, version) == {"red": 2 * len(SPREAD), "blue": 0}
    lab.assert_nothing_in_clear()


@pytest.mark.parametrize(("fault", "version"), alternating(FAULTS))
def test_the_change_takes_less_than_a_second(
    lab: GroupedLab,
    fault: str,
    version: int,
    record_property: Callable[[str, object], None],
) -> None:
    """From packet to packet, and without a packet lost on the way back."""
    lab.configure()
    lab.start()
    with Stream(lab, inside(BERLIN, version), interval=0.005) as stream:
        stream.longest_silence = 0.0
        do_fault(lab, fault)
        until(lambda: active(lab.paris) == ("blue",), "blue carries the traffic")
        stream.until_it_passes()
        silence = stream.longest_silence
        sent = stream.sent
        undo_fault(lab, fault)
        until(lambda: active(lab.paris) == ("red",), "it goes back")
        stream.until_it_passes()
        lost = {number for number in stream.lost() if number > sent}
    print(f"{fault}, IPv{version}: silent for {silence:.3f} s")
    record_property("silence", silence)
    assert silence < 1.0 * SLOWNESS
    assert lost == set(), "going back loses nothing"


@pytest.mark.parametrize("version", [4, 6])
def test_flows_are_spread_over_both_and_leave_a_lost_one(lab: GroupedLab, version: int) -> None:
    lab.configure('mode = "ecmp"')
    lab.start()
    assert active(lab.paris) == ("red", "blue")
    spread = by_way(lab, version)
    assert spread["red"] + spread["blue"] == 2 * len(SPREAD)
    assert min(spread.values()) >= len(SPREAD) // 4, spread
    lab.blackhole("red")
    until(lambda: both_use(lab, "blue"), "blue alone carries it")
    until(lambda: passes(lab, version), "packets pass")
    assert by_way(lab, version) == {"red": 0, "blue": 2 * len(SPREAD)}
    lab.mend("red")
    until(lambda: both_use(lab, "red", "blue"), "both carry it")
    spread = by_way(lab, version)
    assert min(spread.values()) >= len(SPREAD) // 4, spread
    lab.assert_nothing_in_clear()


def test_what_both_hosts_lose_stays_encrypted(lab: GroupedLab) -> None:
    lab.configure()
    lab.start()
    for way in ("red", "blue"):
        lab.blackhole(way)
    for host in lab.hosts:
        until(partial(says, host, "all tunnels are lost"), "both are lost")
        assert active(host) == ("red",), "nothing better is known"
    run(lab.paris.namespace, "ip link set ipsec1 down", "ip route add default via 192.0.2.254")
    assert not passes(lab)
    for way in ("blue", "red"):
        lab.mend(way)
    until(lambda: both_use(lab, "red"), "red carries it")
    until(lambda: passes(lab), "packets pass")
    lab.assert_nothing_in_clear()


def test_who_answers_no_pings_is_asked_by_tcp(lab: GroupedLab) -> None:
    lab.configure(probe='kind = "tcp"\nport = 179')
    for host in lab.hosts:
        run(host.namespace, "sysctl -qw net.ipv4.icmp_echo_ignore_all=1")
    lab.start()
    for host in lab.hosts:
        until(partial(all_answer, host), "connections are answered, be it by a refusal")
    lab.blackhole("red")
    until(lambda: active(lab.paris) == ("blue",), "blue carries the traffic")
    lab.mend("red")
    until(lambda: active(lab.paris) == ("red",), "it goes back")


def test_who_never_answers_is_left_if_the_other_does(lab: GroupedLab) -> None:
    nobody = inside(BERLIN, last=200), inside(PARIS, last=200)
    lab.configure()
    for host, target in zip(lab.hosts, nobody, strict=True):
        text = host.file.read_text()
        host.file.write_text(f'{text}\ntunnel-targets = {{ red = "{target}" }}\n')
        host.start_daemon()
    until(lambda: both_use(lab, "blue"), "who answers carries the traffic")
    for host in lab.hosts:
        report = group_of(host)
        assert report is not None
        assert report.members[0].health is Health.UNANSWERED
    until(lambda: passes(lab), "packets pass")


def test_everything_goes_into_the_group(lab: GroupedLab) -> None:
    lab.configure()
    text = lab.paris.file.read_text()
    text = re.sub(r"^routes = .*$", 'routes = ["0.0.0.0/0", "::/0"]', text, flags=re.M)
    lab.paris.file.write_text(text)
    # Berlin's ESP comes first, as a connection from outside, which Paris's ESP then answers.
    lab.berlin.start_daemon()
    until(lambda: healths(lab.berlin) == [Health.UNANSWERED] * 2, "Berlin asks")
    lab.paris.start_daemon()
    for host in lab.hosts:
        host.wait_until_up()
        until(partial(all_answer, host), "probes pass in spite of the socket's device")
    assert by_way(lab) == {"red": 2 * len(SPREAD), "blue": 0}
    lab.blackhole("red")
    until(lambda: active(lab.paris) == ("blue",) == active(lab.berlin), "blue carries it")
    for version in (4, 6):
        until(partial(passes, lab, version), "packets pass")
        assert by_way(lab, version) == {"red": 0, "blue": 2 * len(SPREAD)}
    lab.assert_nothing_in_clear()


def test_a_group_in_another_namespace_is_probed_there(lab: GroupedLab) -> None:
    with NetworkNamespace.create() as inner:
        path = f"/proc/{os.getpid()}/fd/{inner.fileno()}"
        lab.configure()
        text = lab.paris.file.read_text()
        places = "".join(
            f'\n[interfaces.{name}]\nnamespace = "{path}"\n' for name in ("ipsec1", "ipsec2")
        )
        lab.paris.file.write_text(text + places)
        lab.start()
        assert active(lab.paris) == ("red",)
        there = ip_address(inside(BERLIN))
        assert ping(inner, there)[0] == 3
        lab.blackhole("red")
        until(lambda: active(lab.paris) == ("blue",) == active(lab.berlin), "blue carries it")
        assert ping(inner, there)[0] == 3
        lab.mend("red")
        until(lambda: active(lab.paris) == ("red",), "it goes back")
        assert lab.paris.plutino("down").returncode == 0
    lab.assert_nothing_in_clear()


@pytest.mark.parametrize("fault", ["link delete ipsec1", "link set ipsec1 down"])
def test_what_others_break_of_a_group_is_healed(lab: GroupedLab, fault: str) -> None:
    lab.configure('mode = "ecmp"')
    lab.start()
    before = run(lab.paris.namespace, "ip route show proto 134")
    run(lab.paris.namespace, "ip route add default via 192.0.2.254", f"ip {fault}")
    until(lambda: active(lab.paris) == ("red", "blue"), "both carry it")
    until(lambda: run(lab.paris.namespace, "ip route show proto 134") == before, "it is healed")
    until(lambda: both_use(lab, "red", "blue"), "both carry it")
    until(lambda: passes(lab), "packets pass")
    lab.assert_nothing_in_clear()


@pytest.mark.parametrize("mode", ["active-standby", "ecmp"])
def test_nothing_is_left_of_a_group(lab: GroupedLab, mode: str) -> None:
    lab.configure(f'mode = "{mode}"')
    until(
        lambda: run(lab.paris.namespace, "ip -6 address show tentative") == "",
        "addresses are ready",
    )
    before = shown(lab.paris.namespace)
    done = lab.paris.plutino("apply", lab.paris.file)
    assert done.returncode == 0, done.stderr
    assert lab.paris.plutino("apply", lab.paris.file).stdout == "nothing to do\n"
    assert lab.paris.plutino("down").returncode == 0
    assert shown(lab.paris.namespace) == before
