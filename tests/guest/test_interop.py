"""Other IKE daemons as peers, with the kernel as data plane of both, one boot each."""

import pytest

from tests.support.guest import CHECKOUT, UML, run_tests_in_guest

pytestmark = pytest.mark.guest
FILES = sorted(one.name for one in (CHECKOUT / "tests/interop").glob("test_*.py"))


@pytest.mark.parametrize("file", FILES)
def test_on_the_kernel(file: str) -> None:
    run_tests_in_guest(UML, f"tests/interop/{file}", 400)
