"""plutino with strongSwan 6: a second, post-quantum key exchange (RFC 9370).

``python -m plutino.lab.peers.packages strongswan-6`` brings it; without it nothing is collected.
"""

import os
from functools import partial

import pytest

from plutino.lab.guest.run import GUEST_VARIABLE
from plutino.lab.peers.packages import STRONGSWAN_6, find_peer
from tests.support.exhaustive import EXHAUSTIVE
from tests.support.ike_lab import passes
from tests.support.strongswan_lab import Mixed, mixed_pair, swanctl_conf
from tests.support.until import until

PLANE = "kernel" if GUEST_VARIABLE in os.environ else "userspace"
ANY = ("0.0.0.0/0,::/0", "0.0.0.0/0,::/0")
NARROW = ("10.255.0.1/32,fd00:1::1/128", "10.255.0.0/32,fd00:1::/128")
TS = ANY if PLANE == "kernel" else NARROW
IKE = "aes256gcm16-prfsha384-x25519-ke1_mlkem768"


def until_it_passes(lab: Mixed) -> None:
    """Both versions through the tunnel, and nothing beside it."""
    try:
        until(lambda: passes(lab.paris) and passes(lab.paris, 1), "packets pass")
    except AssertionError as error:
        words = f"{error}\n{lab.paris.last_words()}\n{lab.strongswan.log()[-6000:]}"
        raise AssertionError(words) from None
    lab.assert_nothing_in_clear()


def is_renewed(lab: Mixed, before: set[str]) -> bool:
    now = lab.spis()
    return bool(now) and not now & before


if find_peer(STRONGSWAN_6) is not None:

    @pytest.mark.parametrize("we_begin", [True, False])
    def test_mlkem_is_mixed_in(we_begin: bool) -> None:
        """Its public key comes in fragments, before anybody has proved who it is."""
        own = f'start = "{"now" if we_begin else "listen"}"\nproposals = ["{IKE}"]'
        conf = swanctl_conf(4, ike=IKE, ts=TS)
        with mixed_pair(PLANE, conf, paris=own, peer=STRONGSWAN_6) as lab:
            until(lambda: lab.paris.status() is not None, "plutino listens")
            if not we_begin:
                lab.swanctl("--initiate", "--child", "net")
            lab.paris.wait_until_up()
            until_it_passes(lab)
            assert "KE1_ML_KEM_768" in lab.swanctl("--list-sas")
            assert "IKE_INTERMEDIATE" in lab.strongswan.log()
            before = lab.spis()
            lab.swanctl("--rekey", "--child", "net")
            until(partial(is_renewed, lab, before), "a new CHILD_SA")
            until_it_passes(lab)

    if EXHAUSTIVE:  # it takes its time

        def test_the_ike_sa_is_replaced() -> None:
            """By another from the start: strongSwan insists on a second key exchange there, too."""
            own = f'proposals = ["{IKE}"]\nike-rekey-after = 10'
            conf = swanctl_conf(4, ike=IKE, ts=TS)
            with mixed_pair(PLANE, conf, paris=own, peer=STRONGSWAN_6) as lab:
                lab.paris.wait_until_up()
                until_it_passes(lab)
                before = lab.ike_sas()
                until(lambda: lab.ike_sas() not in ([], before), "another IKE SA", seconds=20)
                until(lambda: len(lab.ike_sas()) == 1, "the old one is gone")
                until_it_passes(lab)
