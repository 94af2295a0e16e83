"""Two uplinks with keys by IKE: its SAs move with the tunnel, by MOBIKE or a new handshake."""

from collections.abc import Callable, Iterator

import pytest

from tests.support.fault_stream import Stream
from tests.support.hosts_file import HostsFile
from tests.support.multihomed_lab import ADDRESS, UPLINKS, MultihomedLab, multihomed_lab, run
from tests.support.two_uplinks import INNER, passes, uplink_of
from tests.support.until import until

pytestmark = pytest.mark.root

PSK = "a key that both of them know\n"
SLOWNESS = 5
"""Other tests run beside these; alone on the machine the factor is one."""


def tunnel(here: str, there: str, ends: str, ike: str, encapsulation: str) -> str:
    other = there.removesuffix("s")
    return f"""
[tunnels.{there}]
interface = "ipsec1"
{ends}
addresses = ["{INNER[here]}/31"]
routes = ["{"10.2.0.0/16" if other == "berlin" else "10.1.0.0/16"}"]
encapsulation = "{encapsulation}"
[tunnels.{there}.ike]
psk-file = "ike.psk"
local-id = "{here}.example"
remote-id = "{there}.example"
{ike}
"""


def configure(
    lab: MultihomedLab,
    version: int = 4,
    *,
    paris: str = "",
    berlin: str = "",
    encapsulation: str = "esp",
    anywhere: bool = False,
    name: str | None = None,
) -> None:
    """Paris goes by isp1, and by isp2 when that is lost; Berlin knows both of its addresses.

    Or none, where Paris may come from ``anywhere``. Paris may know Berlin by a ``name``.
    """
    one, two, far = (ADDRESS[version][link] for link in ("isp1", "isp2", "wan"))
    for host in (lab.paris, lab.berlin):
        file = host.folder / "ike.psk"
        file.touch(mode=0o600)
        file.write_text(PSK)
    ends = f'uplinks = ["isp1", "isp2"]\nremote = "{name or far}"'
    lab.write(lab.paris, UPLINKS + tunnel("paris", "berlin", ends, paris, encapsulation))
    known = 'remote = "any"' if anywhere else f'remote = "{one}"\nremotes = ["{two}"]'
    ends = f'local = "{far}"\n{known}'
    lab.write(lab.berlin, tunnel("berlin", "paris", ends, berlin, encapsulation))


@pytest.fixture
def lab(plane: str) -> Iterator[MultihomedLab]:
    with multihomed_lab(plane) as made:
        yield made


def handshakes(lab: MultihomedLab) -> int:
    return lab.paris.log.read_text().count("the IKE SA is up")


def lose(lab: MultihomedLab, fault: str) -> None:
    if fault == "blackholed":
        lab.blackhole("isp1")
    else:
        run(lab.router, "ip link set isp1 down")


LISTENS = 'start = "listen"'
CASES = [
    # fault, version, encapsulation, Paris, Berlin, handshakes in all
    ("link down", 4, "esp", "", LISTENS, 1),
    ("blackholed", 6, "udp", "", LISTENS, 1),
    ("blackholed", 4, "udp", "mobike = false", LISTENS, 3),
    ("link down", 4, "esp", "", "", None),
    ("blackholed", 6, "esp", LISTENS, "", 1),
]


@pytest.mark.parametrize(("fault", "version", "encapsulation", "paris", "berlin", "made"), CASES)
def test_a_lost_uplink_is_left_and_used_again(
    lab: MultihomedLab,
    record_property: Callable[[str, object], None],
    fault: str,
    version: int,
    encapsulation: str,
    paris: str,
    berlin: str,
    made: int | None,
) -> None:
    """Silence is measured from packet to packet, both ways."""
    configure(lab, version, paris=paris, berlin=berlin, encapsulation=encapsulation)
    lab.start()
    until(lambda: passes(lab), "packets pass")
    assert uplink_of(lab) == "isp1"
    with (
        Stream(lab, INNER["berlin"], interval=0.005) as there,
        Stream(lab, INNER["paris"], back=True, interval=0.005) as back,
    ):
        until(lambda: passes(lab), "packets pass")
        for one in (there, back):
            one.longest_silence = 0.0
        lose(lab, fault)
        for one in (there, back):
            one.until_it_passes()
        silence = max(there.longest_silence, back.longest_silence)
    print(f"{fault}: silent for {silence:.3f} s")
    record_property("silence", silence)
    assert silence < 3.0 * SLOWNESS
    assert uplink_of(lab) == "isp2"
    before = lab.esp("isp1"), lab.esp("isp2")
    assert passes(lab, 3)
    assert (lab.esp("isp1"), lab.esp("isp2") - before[1]) == (before[0], 12)
    if fault == "blackholed":
        lab.mend("isp1")
    else:
        run(lab.router, "ip link set isp1 up")
    until(lambda: uplink_of(lab) == "isp1", "it goes back", seconds=40)
    until(lambda: passes(lab), "both ends are back")
    assert made is None or handshakes(lab) == made
    lab.assert_nothing_in_clear()


@pytest.mark.parametrize("mobike", ["true", "false"])
def test_the_peer_need_not_know_any_address(lab: MultihomedLab, mobike: str) -> None:
    configure(lab, paris=f"mobike = {mobike}", berlin=LISTENS, anywhere=True)
    lab.start()
    until(lambda: passes(lab), "packets pass")
    lose(lab, "blackholed")
    until(lambda: passes(lab), "the tunnel goes by the other uplink", seconds=20)
    assert uplink_of(lab) == "isp2"
    before = lab.esp("isp1"), lab.esp("isp2")
    assert passes(lab, 3)
    assert (lab.esp("isp1"), lab.esp("isp2") - before[1]) == (before[0], 12)
    lab.mend("isp1")
    until(lambda: uplink_of(lab) == "isp1", "it goes back", seconds=40)
    until(lambda: passes(lab), "both ends are back", seconds=20)
    assert handshakes(lab) == (1 if mobike == "true" else 3)
    lab.assert_nothing_in_clear()


@pytest.mark.parametrize("version", [4, 6])
def test_the_peer_may_have_a_name(lab: MultihomedLab, version: int) -> None:
    """Nothing says its IP version before it is resolved."""
    name = "berlin.example"
    configure(lab, version, berlin=LISTENS, name=name)
    hosts = HostsFile(lab.paris)
    for host in (lab.berlin, lab.paris):
        host.start_daemon()
    unresolved = f"{name} cannot be resolved"
    until(lambda: unresolved in lab.paris.plutino("status").stdout, "nobody knows the name")
    assert not passes(lab)
    hosts.set(name, ADDRESS[version]["wan"])
    until(lambda: passes(lab), "packets pass", seconds=60)
    assert uplink_of(lab) == "isp1"
    lose(lab, "blackholed")
    until(lambda: passes(lab), "the tunnel goes by the other uplink", seconds=20)
    assert uplink_of(lab) == "isp2"
    lab.assert_nothing_in_clear()
