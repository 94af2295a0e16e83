"""The notes' VTI between two providers: keys are marks, and uplinks have marks of their own."""

from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from plutino.lab.traffic import ping
from tests.support.exhaustive import alternating
from tests.support.multihomed_lab import MultihomedLab, multihomed_lab, run
from tests.support.two_uplinks import configure, passes, uplink_of
from tests.support.until import until

pytestmark = pytest.mark.root


@pytest.fixture
def lab() -> Iterator[MultihomedLab]:
    with multihomed_lab("kernel") as made:
        yield made


@pytest.mark.parametrize(("standby", "version"), alternating([True, False]))
def test_a_vti_changes_its_provider(lab: MultihomedLab, version: int, *, standby: bool) -> None:
    configure(lab, version, standby=standby)
    for host in (lab.paris, lab.berlin):
        host.file.write_text(
            f'{host.file.read_text()}\n[interfaces.ipsec1]\nkind = "vti"\nkey = 2\n'
        )
    lab.start()
    assert passes(lab, 3)
    assert (lab.esp("isp1"), lab.esp("isp2")) == (12, 0)
    sas = run(lab.paris.namespace, "ip xfrm state")
    assert "output-mark 0x10002/0xffffff" in sas
    assert "mark 0x2/0xffffffff" in sas
    lab.blackhole("isp1")
    until(lambda: passes(lab), "the other provider carries it")
    assert uplink_of(lab) == "isp2"
    before = lab.esp("isp2")
    assert ping(lab.paris.namespace, ip_address("10.255.0.1"))[0] == 3
    assert lab.esp("isp2") - before == 6
    lab.mend("isp1")
    until(lambda: uplink_of(lab) == "isp1" and passes(lab), "it goes back")
    lab.assert_nothing_in_clear()
