"""CHILD_SAs and IKE SAs that we rekey while packets flow, one after another, with libreswan.

As a responder it sends by a new CHILD_SA as soon as it has answered (RFC 7296, 2.8).
"""

import pytest

from plutino.lab.peers.packages import Peer
from tests.support.libreswan_lab import Mixed, connection, mixed_pair
from tests.support.rekeys import IKE_REKEYS, OFTEN, REKEYS, Changes, traffic, until_so_many


def child_rekeys(lab: Mixed) -> int:
    """So many CHILD_SAs has libreswan made in the place of others when we asked for it."""
    return lab.libreswan.log().count("responder rekeyed Child SA")


@pytest.mark.parametrize("family", [4, 6])
def test_of_both_kinds_by_us(libreswan: Peer, family: int) -> None:
    with mixed_pair(libreswan, connection(family), family, paris=OFTEN) as lab:
        lab.until_it_passes()
        with traffic(lab):
            ikes = Changes(lambda: lab.ike_sas() if len(lab.ike_sas()) == 1 else None)
            until_so_many(lambda: child_rekeys(lab), REKEYS, "CHILD_SAs")
            until_so_many(ikes.count, IKE_REKEYS, "IKE SAs")
        lab.assert_nothing_in_clear()
