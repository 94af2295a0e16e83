"""The README's use case of a VTI, which only the kernel serves."""

from ipaddress import ip_address

import pytest

from plutino.lab.traffic import ping
from tests.support.multihomed_lab import run
from tests.support.readme_examples import assert_only_esp, example, west_and_east

pytestmark = pytest.mark.root


def test_a_vti_whose_key_is_the_mark() -> None:
    with west_and_east(example("A VTI"), "kernel") as (west, _east, tap):
        assert ping(west.namespace, ip_address("10.255.0.1"))[0] == 3
        assert_only_esp(tap, 6)
        assert "mark 0x2/0xffffffff" in run(west.namespace, "ip xfrm state")
