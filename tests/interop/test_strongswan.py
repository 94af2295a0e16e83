"""plutino with strongSwan: here both in user space, in the guest both on the kernel's ESP."""

import os

import pytest

from plutino.lab.guest.run import GUEST_VARIABLE
from tests.support.ike_lab import passes
from tests.support.strongswan_lab import Mixed, mixed_pair, swanctl_conf
from tests.support.until import until

PLANE = "kernel" if GUEST_VARIABLE in os.environ else "userspace"
ANY = ("0.0.0.0/0,::/0", "0.0.0.0/0,::/0")
NARROW = ("10.255.0.1/32,fd00:1::1/128", "10.255.0.0/32,fd00:1::/128")
TS = ANY if PLANE == "kernel" else NARROW
"""charon's own ESP would route all, its outer packets too, into its tunnel."""


def until_it_passes(lab: Mixed) -> None:
    """Both versions through the tunnel, and nothing beside it."""
    try:
        until(lambda: passes(lab.paris) and passes(lab.paris, 1), "packets pass")
    except AssertionError as error:
        raise AssertionError(
            f"{error}\n{lab.paris.last_words()}\n{lab.strongswan.log()[-4000:]}"
        ) from None
    lab.assert_nothing_in_clear()


@pytest.mark.parametrize("family", [4, 6])
def test_we_begin(family: int) -> None:
    with mixed_pair(PLANE, swanctl_conf(family, ts=TS), family) as lab:
        until_it_passes(lab)


def test_the_peer_begins() -> None:
    with mixed_pair(PLANE, swanctl_conf(4, ts=TS), paris='start = "listen"') as lab:
        lab.swanctl("--initiate", "--child", "net")
        until_it_passes(lab)
