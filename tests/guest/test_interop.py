"""Other IKE daemons as peers, with the kernel as data plane of both, one boot for each."""

import pytest

from plutino.lab.peers.packages import STRONGSWAN_6, find_peer
from tests.support.exhaustive import EXHAUSTIVE
from tests.support.guest import CHECKOUT, UML, run_tests_in_guest

pytestmark = pytest.mark.guest
CHOSEN = {
    "test_strongswan.py": "under_traffic_lose or beet or moves or (we_begin and 6)",
    "test_strongswan_nat.py": "found_by or transport",
    "test_strongswan_ocsp.py": "",
    "test_strongswan_options.py": "long_chain and 6",
    "test_strongswan_proofs.py": "revoked",
    "test_strongswan_selectors.py": "now",
    "test_strongswan_mlkem.py": "mixed_in and True",
    "test_libreswan_nat.py": "ports_of_libreswan",
    "test_libreswan_rekeys.py": "4-kernel or 6-userspace or (waits and kernel)",
    "test_libreswan_proofs.py": "(does_not and certificate) or cut_off or (post_quantum and now)",
    "test_libreswan_selectors.py": "listen",
    "test_libreswan_options.py": "chain or (moves and yes) or bring_the_cookie or tunnels",
}
"""Of those that run on the host, too, what the kernel has a part in; of the others the dearest."""


@pytest.mark.parametrize("peer", ["strongswan", "libreswan"])
def test_on_the_kernel(peer: str) -> None:
    files = sorted((CHECKOUT / "tests/interop").glob(f"test_{peer}*.py"))
    places = " ".join(str(one.relative_to(CHECKOUT)) for one in files)
    words = {one.name: CHOSEN.get(one.name, one.name) for one in files}
    parts = (f"({name} and ({chosen}))" for name, chosen in words.items() if chosen)
    expression = "" if EXHAUSTIVE else " or ".join(parts)
    said = run_tests_in_guest(UML, places, 5400 if EXHAUSTIVE else 900, expression)
    if find_peer(STRONGSWAN_6) is None:
        words.pop("test_strongswan_mlkem.py", None)
    for name, chosen in words.items():
        if chosen:
            assert f"PASSED tests/interop/{name}::" in said, f"nothing of {name} was chosen"
