"""plutino with strongSwan 6: a second, post-quantum key exchange (RFC 9370).

``python -m plutino.lab.peers.packages strongswan-6`` brings it; without it nothing is collected.
"""

from functools import partial

import pytest

from plutino.lab.peers.packages import STRONGSWAN_6, find_peer
from tests.support.exhaustive import EXHAUSTIVE
from tests.support.strongswan_lab import PLANE, TS, mixed_pair, swanctl_conf
from tests.support.until import until

IKE = "aes256gcm16-prfsha384-x25519-ke1_mlkem768"


if find_peer(STRONGSWAN_6) is not None:

    @pytest.mark.parametrize("we_begin", [True, False])
    def test_mlkem_is_mixed_in(we_begin: bool) -> None:
        """Its public key comes in fragments, before anybody has proved who it is."""
        own = f'start = "{"now" if we_begin else "listen"}"\nproposals = ["{IKE}"]'
        conf = swanctl_conf(4, ike=IKE, ts=TS)
        with mixed_pair(STRONGSWAN_6, PLANE, conf, paris=own) as lab:
            until(lambda: lab.paris.status() is not None, "plutino listens")
            if not we_begin:
                lab.swanctl("--initiate", "--child", "net")
            lab.paris.wait_until_up()
            lab.until_it_passes()
            assert "KE1_ML_KEM_768" in lab.swanctl("--list-sas")
            assert "IKE_INTERMEDIATE" in lab.strongswan.log()
            before = lab.spis()
            lab.swanctl("--rekey", "--child", "net")
            until(partial(lab.renewed, before), "a new CHILD_SA")
            lab.until_it_passes()

    if EXHAUSTIVE:  # it takes its time

        def test_the_ike_sa_is_replaced() -> None:
            """By another from the start: strongSwan insists on a second key exchange there, too."""
            own = f'proposals = ["{IKE}"]\nike-rekey-after = 10'
            conf = swanctl_conf(4, ike=IKE, ts=TS)
            with mixed_pair(STRONGSWAN_6, PLANE, conf, paris=own) as lab:
                lab.paris.wait_until_up()
                lab.until_it_passes()
                before = lab.ike_sas()
                until(lambda: lab.ike_sas() not in ([], before), "another IKE SA", seconds=20)
                until(lambda: len(lab.ike_sas()) == 1, "the old one is gone")
                lab.until_it_passes()
