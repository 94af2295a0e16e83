"""plutino with strongSwan 6: a second, post-quantum key exchange (RFC 9370), in rekeys as well.

``python -m plutino.lab.peers.packages strongswan-6`` brings it; without it nothing is collected.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from plutino.lab.demo import INNER, PARIS
from plutino.lab.peers.packages import STRONGSWAN_6, find_peer
from tests.support.exhaustive import EXHAUSTIVE
from tests.support.fault_stream import Stream
from tests.support.strongswan_lab import PLANE, TS, Mixed, mixed_pair, swanctl_conf
from tests.support.until import until

IKE = "aes256gcm16-prfsha384-x25519-ke1_mlkem768"
ESP = "aes256gcm16-x25519-ke1_mlkem768"
OWN = f'proposals = ["{IKE}"]\nesp-proposals = ["{ESP}"]\n'


@contextmanager
def nothing_is_lost(lab: Mixed) -> Iterator[None]:
    """Not one packet of two streams, one from each side."""
    with (
        Stream(lab, interval=0.005) as there,
        Stream(lab, INNER[PARIS][0], back=True, interval=0.005) as back,
    ):
        first = there.sent, back.sent
        yield
        for stream, mark in zip((there, back), first, strict=True):
            assert not {one for one in stream.lost() if one >= mark}
    lab.assert_nothing_in_clear()


def is_replaced(lab: Mixed, before: list[str]) -> bool:
    """Whether there is one IKE SA, and another than before."""
    now = lab.ike_sas()
    return len(now) == 1 and now != before


def followed_up(lab: Mixed) -> int:
    """How many IKE_FOLLOWUP_KE strongSwan has sent and received."""
    return lab.strongswan.log().count("IKE_FOLLOWUP_KE")


if find_peer(STRONGSWAN_6) is not None:

    @pytest.mark.parametrize("we_begin", [True, False])
    def test_mlkem_is_mixed_in(we_begin: bool) -> None:
        """Its public key comes in fragments, first before anybody has proved who it is."""
        # charon reads of our window, and takes one request at a time as ever
        own = f'{OWN}window = 4\nstart = "{"now" if we_begin else "listen"}"'
        conf = swanctl_conf(4, ike=IKE, esp=ESP, ts=TS)
        with mixed_pair(STRONGSWAN_6, PLANE, conf, paris=own) as lab:
            until(lambda: lab.paris.status() is not None, "plutino listens")
            if not we_begin:
                lab.swanctl("--initiate", "--child", "net")
            lab.paris.wait_until_up()
            lab.until_it_passes()
            assert "KE1_ML_KEM_768" in lab.swanctl("--list-sas")
            assert "IKE_INTERMEDIATE" in lab.strongswan.log()
            with nothing_is_lost(lab):
                for kind, name in (("--child", "net"), ("--ike", "paris"), ("--child", "net")):
                    children, ikes, said = lab.spis(), lab.ike_sas(), followed_up(lab)
                    lab.swanctl("--rekey", kind, name)
                    renewed: Callable[[], bool] = partial(lab.renewed, children)
                    if kind == "--ike":
                        renewed = partial(is_replaced, lab, ikes)
                    until(renewed, f"another one after {kind}")
                    assert followed_up(lab) >= said + 2
            assert "KE1_ML_KEM_768" in lab.swanctl("--list-sas")

    if EXHAUSTIVE:  # it takes its time

        @pytest.mark.parametrize("we_begin", [True, False])
        def test_we_rekey(we_begin: bool) -> None:
            """The IKE SA and the CHILD_SA, some times each, whoever has begun the first."""
            own = f"{OWN}rekey-after = 10\nike-rekey-after = 12\nrekey-jitter = 0.5\n"
            own += f'start = "{"now" if we_begin else "listen"}"'
            conf = swanctl_conf(4, ike=IKE, esp=ESP, ts=TS)
            with mixed_pair(STRONGSWAN_6, PLANE, conf, paris=own) as lab:
                until(lambda: lab.paris.status() is not None, "plutino listens")
                if not we_begin:
                    lab.swanctl("--initiate", "--child", "net")
                lab.paris.wait_until_up()
                lab.until_it_passes()
                with nothing_is_lost(lab):
                    for _ in range(3):
                        before = lab.ike_sas()
                        until(partial(is_replaced, lab, before), "another IKE SA", seconds=20)
                        children = lab.spis()
                        until(partial(lab.renewed, children), "another CHILD_SA", seconds=20)
                assert "IKE_SA_INIT" not in lab.strongswan.log().partition("ESTABLISHED")[2]
                assert followed_up(lab) >= 12

        def test_both_rekey() -> None:
            """At about the same time, over and over: what collides is settled by the nonces."""
            times = "rekey-after = 10\nike-rekey-after = 10\nrekey-jitter = 0"
            conf = swanctl_conf(
                4,
                ike=IKE,
                esp=ESP,
                ts=TS,
                connection="rekey_time = 10s\n  rand_time = 0",
                child="rekey_time = 10s\n    rand_time = 0",
            )
            with mixed_pair(STRONGSWAN_6, PLANE, conf, paris=OWN + times) as lab:
                lab.paris.wait_until_up()
                lab.until_it_passes()
                with nothing_is_lost(lab):
                    for _ in range(4):
                        before = lab.spis(), lab.ike_sas()
                        until(partial(lab.renewed, before[0]), "another CHILD_SA", seconds=20)
                        until(partial(is_replaced, lab, before[1]), "another IKE SA", seconds=20)
                assert len(lab.ike_sas()) == 1
