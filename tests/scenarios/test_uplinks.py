"""Two uplinks: packets take the chosen one, and a lost one is left for the other, and back."""

from collections.abc import Callable, Iterator
from ipaddress import ip_address

import pytest

from plutino.lab.traffic import ping
from tests.support.fault_stream import Stream
from tests.support.multihomed_lab import (
    ADDRESS,
    UPLINKS,
    MultihomedLab,
    multihomed_lab,
    run,
)
from tests.support.until import until

pytestmark = pytest.mark.root

INNER = {"paris": "10.255.0.0", "berlin": "10.255.0.1"}
SLOWNESS = 5
"""Other tests run beside these; alone on the machine the factor is one."""
NETWORK = {"paris": "10.1.0.0/16", "berlin": "10.2.0.0/16"}


def tunnel(here: str, there: str, ends: str, more: str = "", encapsulation: str = "esp") -> str:
    return f"""
[tunnels.{there}]
interface = "ipsec1"
{ends}
addresses = ["{INNER[here]}/31"]
routes = ["{NETWORK[there]}"]
encapsulation = "{encapsulation}"
static.key-file = "main.keys"
{more}
"""


def configure(
    lab: MultihomedLab, version: int = 4, *, standby: bool = True, encapsulation: str = "esp"
) -> None:
    """Paris goes by isp1, and by isp2 when that is lost; Berlin knows both of its addresses."""
    lab.make_keys("main")
    lab.make_keys("second")
    one, two, far = (ADDRESS[version][link] for link in ("isp1", "isp2", "wan"))
    by_isp2 = '[[tunnels.berlin.standby]]\nuplink = "isp2"\nkey-file = "second.keys"'
    to_isp2 = f'[[tunnels.paris.standby]]\nremote = "{two}"\nkey-file = "second.keys"'
    remotes = "" if standby else f'\nremotes = ["{two}"]'
    lab.write(
        lab.paris,
        UPLINKS
        + tunnel(
            "paris",
            "berlin",
            f'uplinks = ["isp1", "isp2"]\nremote = "{far}"',
            by_isp2 if standby else "",
            encapsulation,
        ),
    )
    lab.write(
        lab.berlin,
        tunnel(
            "berlin",
            "paris",
            f'local = "{far}"\nremote = "{one}"{remotes}',
            to_isp2 if standby else "",
            encapsulation,
        ),
    )


@pytest.fixture
def lab(plane: str) -> Iterator[MultihomedLab]:
    with multihomed_lab(plane) as made:
        yield made


def passes(lab: MultihomedLab, count: int = 1) -> bool:
    there = ping(lab.paris.namespace, ip_address(INNER["berlin"]), count=count, timeout=0.5)[0]
    back = ping(lab.berlin.namespace, ip_address(INNER["paris"]), count=count, timeout=0.5)[0]
    return there == back == count


def uplink_of(lab: MultihomedLab) -> str | None:
    report = lab.paris.status()
    return None if report is None else report.tunnels[0].uplink


@pytest.mark.parametrize("version", [4, 6])
def test_the_first_uplink_carries_the_tunnel(lab: MultihomedLab, version: int) -> None:
    configure(lab, version)
    lab.start()
    assert passes(lab, 3)
    assert lab.esp("isp1") == 12
    assert lab.esp("isp2") == 0
    assert uplink_of(lab) == "isp1"
    lab.assert_nothing_in_clear()


@pytest.mark.parametrize("encapsulation", ["esp", "udp"])
@pytest.mark.parametrize("standby", [True, False], ids=["standby", "moved"])
@pytest.mark.parametrize("fault", ["link down", "blackholed"])
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
