"""The scenarios of ``tests/guest_inside/conformance``, in one boot of each kernel."""

import pytest

from tests.support.exhaustive import EXHAUSTIVE
from tests.support.guest import UML, run_tests_in_guest

pytestmark = pytest.mark.guest
KERNELS = ("uml-6.12", "uml-7.3") if EXHAUSTIVE else (UML,)
_SUITE = "tests/guest_inside/test_conformance.py"


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_kernel_and_the_engine_do_the_same(kernel: str) -> None:
    run_tests_in_guest(kernel, _SUITE, 400)


@pytest.mark.parametrize("kernel", KERNELS)
def test_interfaces_in_another_namespace(kernel: str) -> None:
    run_tests_in_guest(kernel, "tests/guest_inside/test_namespaces.py", 120)
