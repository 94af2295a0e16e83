"""Other IKE daemons as peers, with the kernel as data plane of both, in one boot."""

import pytest

from tests.support.guest import UML, run_tests_in_guest

pytestmark = pytest.mark.guest


def test_strongswan_on_the_kernel() -> None:
    run_tests_in_guest(UML, "tests/interop", 400)
