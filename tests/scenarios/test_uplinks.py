"""Two uplinks: packets take the chosen one, and a lost one is left for the other, and back."""

import re
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from itertools import product

import pytest

from plutino.lab.namespaces import NetworkNamespace
from plutino.lab.traffic import MARKER, ping
from plutino.lab.wire import WireTap
from tests.support.exhaustive import covering
from tests.support.fault_stream import Stream
from tests.support.multihomed_lab import (
    ADDRESS,
    MultihomedLab,
    multihomed_lab,
    run,
)
from tests.support.two_uplinks import INNER, configure, passes, uplink_of
from tests.support.until import until

pytestmark = pytest.mark.root

SLOWNESS = 5
"""Other tests run beside these; alone on the machine the factor is one."""


@pytest.fixture
def lab(plane: str) -> Iterator[MultihomedLab]:
    with multihomed_lab(plane) as made:
        yield made


def shown(namespace: NetworkNamespace) -> list[str]:
    """What is there of rules, routes, links and nftables, but for what the kernel counts down."""
    shows = ("rule", "-6 rule", "route show table all", "-6 route show table all", "link")
    told = [run(namespace, f"ip {one}") for one in shows]
    return [
        re.sub(r"expires \d+sec ?", "", one) for one in (*told, run(namespace, "nft list ruleset"))
    ]


@pytest.mark.parametrize("version", [4, 6])
def test_the_first_uplink_carries_the_tunnel(lab: MultihomedLab, version: int) -> None:
    configure(lab, version)
    lab.start()
    assert passes(lab, 3)
    assert lab.esp("isp1") == 12
    assert lab.esp("isp2") == 0
    assert uplink_of(lab) == "isp1"
    lab.assert_nothing_in_clear()


LOSSES = covering(
    tuple(product(("link down", "blackholed"), (True, False), ("esp", "udp"))), lambda case: case
)


@pytest.mark.parametrize(("fault", "standby", "encapsulation"), LOSSES)
def test_a_lost_uplink_is_left_and_used_again(
    lab: MultihomedLab, fault: str, *, standby: bool, encapsulation: str
) -> None:
    configure(lab, standby=standby, encapsulation=encapsulation)
    lab.start()
    assert passes(lab)
    if fault == "blackholed":
        lab.blackhole("isp1")
    else:
        run(lab.router, "ip link set isp1 down")
    until(lambda: passes(lab), "the other uplink carries it")
    assert uplink_of(lab) == "isp2"
    before = lab.esp("isp1"), lab.esp("isp2")
    assert passes(lab, 3)
    assert (lab.esp("isp1"), lab.esp("isp2") - before[1]) == (before[0], 12)
    if fault == "blackholed":
        lab.mend("isp1")
    else:
        run(lab.router, "ip link set isp1 up")
    until(lambda: uplink_of(lab) == "isp1", "it goes back")
    until(lambda: passes(lab), "both ends are back")
    lab.assert_nothing_in_clear()


@pytest.mark.parametrize("fault", ["link down", "blackholed"])
@pytest.mark.parametrize("standby", [True, False], ids=["standby", "moved"])
def test_the_change_takes_less_than_a_second(
    lab: MultihomedLab, fault: str, record_property: Callable[[str, object], None], *, standby: bool
) -> None:
    """Measured from packet to packet, both ways; the limit leaves room for a busy machine."""
    configure(lab, standby=standby)
    lab.start()
    with (
        Stream(lab, INNER["berlin"], interval=0.005) as there,
        Stream(lab, INNER["paris"], back=True, interval=0.005) as back,
    ):
        until(lambda: passes(lab), "packets pass")
        for one in (there, back):
            one.longest_silence = 0.0
        if fault == "blackholed":
            lab.blackhole("isp1")
        else:
            run(lab.router, "ip link set isp1 down")
        for one in (there, back):
            one.until_it_passes()
        silence = max(there.longest_silence, back.longest_silence)
    print(f"{fault}: silent for {silence:.3f} s")
    record_property("silence", silence)
    assert silence < 1.0 * SLOWNESS


@pytest.mark.parametrize("fault", ["address del 192.0.2.1/24 dev eth1", "link set eth1 down"])
def test_what_is_taken_from_an_uplink_is_seen_without_probes(
    lab: MultihomedLab, fault: str
) -> None:
    configure(lab)
    text = lab.paris.file.read_text()
    lab.paris.file.write_text(
        text.replace("[uplinks.isp2]", 'probe.kind = "none"\n\n[uplinks.isp2]')
    )
    lab.start()
    run(lab.paris.namespace, f"ip {fault}")
    until(lambda: uplink_of(lab) == "isp2", "the other uplink is chosen")
    until(lambda: passes(lab), "packets pass")
    lab.assert_nothing_in_clear()


def test_who_asks_at_an_uplink_is_answered_there(lab: MultihomedLab) -> None:
    configure(lab)
    lab.start()
    seen: list[bytes] = []
    with lab.router.entered():
        tap = WireTap(lab.router, "isp2", on_frame=lambda frame, _at: seen.append(frame))
    try:
        for version in (4, 6):
            seen.clear()
            asked = ip_address(ADDRESS[version]["isp2"])
            assert ping(lab.berlin.namespace, asked)[0] == 3
            tap.catch_up()
            answers = [one for one in seen if asked.packed in one[14:] and MARKER in one]
            assert len(answers) == 6, "requests and answers pass the same link"
    finally:
        tap.close()


@pytest.mark.parametrize("guard", ["on", "strict"])
def test_everything_goes_into_the_tunnel_whichever_uplink_carries_it(
    lab: MultihomedLab, guard: str
) -> None:
    """The strict guard lets probes out, and ESP by whichever uplink."""
    configure(lab)
    for host, routes in (
        (lab.paris, '"0.0.0.0/0", "::/0"'),
        (lab.berlin, f'"{INNER["paris"]}/32"'),
    ):
        text = re.sub(r"^routes = .*$", f"routes = [{routes}]", host.file.read_text(), flags=re.M)
        host.file.write_text(f'guard = "{guard}"\n{text}')
    run(lab.berlin.namespace, "ip address add 10.2.3.4/32 dev lo")
    lab.start()
    elsewhere = ip_address("10.2.3.4")
    assert ping(lab.paris.namespace, elsewhere)[0] == 3
    assert lab.esp("isp1") == 6
    lab.blackhole("isp1")
    until(lambda: ping(lab.paris.namespace, elsewhere, count=1, timeout=0.5)[0] == 1, "it passes")
    assert uplink_of(lab) == "isp2"
    lab.assert_nothing_in_clear()


def test_nothing_is_left_of_uplinks(lab: MultihomedLab) -> None:
    configure(lab)
    until(
        lambda: run(lab.paris.namespace, "ip -6 address show tentative") == "",
        "addresses are ready",
    )
    before = shown(lab.paris.namespace)
    done = lab.paris.plutino("apply", lab.paris.file)
    assert done.returncode == 0, done.stderr
    assert lab.paris.plutino("apply", lab.paris.file).stdout == "nothing to do\n"
    assert "fwmark 0x20000/0xff0000" in run(lab.paris.namespace, "ip rule show")
    done = lab.paris.plutino("down")
    assert done.returncode == 0, done.stderr
    assert shown(lab.paris.namespace) == before


def test_others_flush_the_tables_of_uplinks(lab: MultihomedLab) -> None:
    configure(lab)
    lab.start()
    for fault in ("ip route flush table 199876", "ip rule del priority 13400"):
        run(lab.paris.namespace, fault)
        until(
            lambda: (
                "13400:" in run(lab.paris.namespace, "ip rule show")
                and "default via" in run(lab.paris.namespace, "ip route show table 199876")
            ),
            "it is healed",
        )
        assert passes(lab)
    lab.assert_nothing_in_clear()
