"""plutino with strongSwan: selectors with protocols and ports, which both spell alike."""

import pytest

from plutino.lab.demo import BERLIN, INNER
from plutino.lab.peers.packages import Peer
from tests.support.strongswan_lab import PLANE, TS, Mixed, mixed_pair, swanctl_conf
from tests.support.tcp import connects
from tests.support.until import until

BERLIN4, BERLIN6 = f"{INNER[BERLIN][0]}/32", f"{INNER[BERLIN][1]}/128"
PINGS = (f"{BERLIN4}[icmp]", f"{BERLIN6}[ipv6-icmp]")
WEB = f"{BERLIN4}[tcp/5000-5001]"


def selecting(text: str) -> str:
    """The gateway file for more of Berlin's ports than strongSwan is for."""
    kept = [one for one in text.splitlines() if not one.startswith("routes =")]
    at = kept.index(f"[tunnels.{BERLIN}]") + 1
    theirs = ", ".join(f'"{one}"' for one in (WEB.replace("5001", "5003"), *PINGS))
    return "\n".join((*kept[:at], f"remote-ts = [{theirs}]", *kept[at:], ""))


def listed(lab: Mixed) -> str:
    """strongSwan's own words for its CHILD_SAs."""
    return lab.swanctl("--list-sas")


@pytest.mark.parametrize("who", ["now", "listen"])
def test_both_narrow_to_the_ports_that_they_share(strongswan: Peer, who: str) -> None:
    conf = swanctl_conf(4, ts=(",".join((WEB, *PINGS)), TS[1]))
    with mixed_pair(strongswan, PLANE, conf, paris=f'start = "{who}"', edit=selecting) as lab:
        if who == "listen":
            until(lambda: lab.paris.status() is not None, "plutino listens")
            lab.swanctl("--initiate", "--child", "net")
        lab.until_it_passes()
        assert WEB in listed(lab)
        found = [connects(lab.paris, lab.berlin, port) for port in (4999, 5000, 5001, 5002)]
        assert found == [False, True, True, False]
        before = lab.spis()
        lab.swanctl("--rekey", "--child", "net")
        until(lambda: lab.renewed(before), "a new CHILD_SA")
        lab.until_it_passes()
        assert WEB in listed(lab)
        assert connects(lab.paris, lab.berlin, 5000)
        lab.assert_nothing_in_clear()
