"""CHILD_SAs and IKE SAs that we rekey while packets flow, one after another, with strongSwan."""

import re

from plutino.lab.peers.packages import Peer
from tests.support.rekeys import IKE_REKEYS, OFTEN, REKEYS, Changes, traffic, until_so_many
from tests.support.strongswan_lab import PLANE, TS, Mixed, mixed_pair, swanctl_conf


def child_rekeys(lab: Mixed) -> int:
    """So many CHILD_SAs has strongSwan made when we asked for it."""
    made = re.findall(r"CHILD_SA net\{(\d+)\} established", lab.strongswan.log())
    return len(set(made))


def test_of_both_kinds_by_us(strongswan: Peer) -> None:
    conf = swanctl_conf(4, ts=TS, esp="aes256gcm16-noesn")
    with mixed_pair(strongswan, PLANE, conf, paris=OFTEN) as lab:
        lab.until_it_passes()
        with traffic(lab):
            ikes = Changes(lambda: lab.ike_sas() if len(lab.ike_sas()) == 1 else None)
            until_so_many(lambda: child_rekeys(lab), REKEYS, "CHILD_SAs")
            until_so_many(ikes.count, IKE_REKEYS, "IKE SAs")
        lab.assert_nothing_in_clear()
