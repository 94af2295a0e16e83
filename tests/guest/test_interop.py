"""Other IKE daemons as peers, with the kernel as data plane of both, one boot for each."""

import pytest

from tests.support.exhaustive import EXHAUSTIVE
from tests.support.guest import CHECKOUT, UML, run_tests_in_guest

pytestmark = pytest.mark.guest
CHOSEN = {
    "test_strongswan.py": "under_traffic or beet or moves or (we_begin and 6)",
    "test_strongswan_nat.py": "found_by",
    "test_strongswan_ocsp.py": "",
    "test_strongswan_options.py": "long_chain and 6",
    "test_strongswan_proofs.py": "revoked",
    "test_strongswan_mlkem.py": "mixed_in and True",
}
"""Of those that run on the host, too: what the kernel has a part in."""


@pytest.mark.parametrize("peer", ["strongswan", "libreswan"])
def test_on_the_kernel(peer: str) -> None:
    files = sorted((CHECKOUT / "tests/interop").glob(f"test_{peer}*.py"))
    places = " ".join(str(one.relative_to(CHECKOUT)) for one in files)
    chosen = (CHOSEN.get(one.name, one.name) for one in files)
    pairs = zip(files, chosen, strict=True)
    parts = (f"({one.name} and ({words}))" for one, words in pairs if words)
    run_tests_in_guest(UML, places, 900, "" if EXHAUSTIVE else " or ".join(parts))
