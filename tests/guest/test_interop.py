"""Other IKE daemons as peers, with the kernel as data plane of both, one boot each."""

import pytest

from tests.support.exhaustive import EXHAUSTIVE
from tests.support.guest import CHECKOUT, UML, run_tests_in_guest

pytestmark = pytest.mark.guest
FILES = sorted(one.name for one in (CHECKOUT / "tests/interop").glob("test_*.py"))
CHOSEN = {
    "test_strongswan.py": "we_begin or under_traffic or beet or moves or silent",
    "test_strongswan_nat.py": "found_by_esp or (found_by_ike and paris)",
    "test_strongswan_options.py": "long_chain and 6",
}
"""Of those that run on the host, too: what the kernel has a part in."""


@pytest.mark.parametrize("file", FILES)
def test_on_the_kernel(file: str) -> None:
    run_tests_in_guest(
        UML, f"tests/interop/{file}", 400, "" if EXHAUSTIVE else CHOSEN.get(file, "")
    )
