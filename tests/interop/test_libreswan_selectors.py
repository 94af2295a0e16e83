"""plutino with libreswan: a connection with a protocol and ports, `leftprotoport`."""

import pytest

from plutino.lab.demo import BERLIN, INNER, PARIS
from plutino.lab.peers.packages import Peer
from tests.support.libreswan_lab import Mixed, address_interface, connection, mixed_pair
from tests.support.tcp import connects
from tests.support.until import until

OURS, THEIRS = f"{INNER[PARIS][0]}/32", f"{INNER[BERLIN][0]}/32"


def selecting(text: str) -> str:
    """The gateway file for TCP to some ports of Berlin."""
    kept = [one for one in text.splitlines() if not one.startswith("routes =")]
    at = kept.index(f"[tunnels.{BERLIN}]") + 1
    own = f'local-ts = ["{OURS}[tcp]"]\nremote-ts = ["{THEIRS}[tcp/5000-5003]"]'
    return "\n".join((*kept[:at], own, *kept[at:], ""))


def web_passes(lab: Mixed) -> bool:
    if not lab.is_up() or not lab.children():
        return False
    address_interface(lab.berlin, lab.interface)
    return connects(lab.paris, lab.berlin, 5001)


@pytest.mark.parametrize("who", ["now", "listen"])
def test_ports_are_narrowed_with_libreswan(libreswan: Peer, who: str) -> None:
    """As the one that answers it wants to be asked for just its own, without ``narrowing``."""
    lines = "pfs=no\nnarrowing=yes\nleftprotoport=tcp/5001\nrightprotoport=tcp"
    section = connection(ts=(THEIRS, OURS), lines=lines)
    with mixed_pair(libreswan, section, paris=f'start = "{who}"', edit=selecting) as lab:
        if who == "listen":
            lab.whack("--name", "paris", "--initiate", "--asynchronous")
        until(lambda: web_passes(lab), "port 5001 passes", seconds=60)
        assert [connects(lab.paris, lab.berlin, one) for one in (5000, 5002)] == [False, False]
        before = lab.children()
        lab.rekey_child()
        until(lambda: lab.child_renewed(before), "a new CHILD_SA")
        until(lambda: web_passes(lab), "port 5001 passes")
        lab.assert_nothing_in_clear()
