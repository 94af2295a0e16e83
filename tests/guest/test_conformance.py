"""The scenarios of ``tests/guest_inside/conformance``, in one boot of each kernel."""

import pytest

from tests.support.guest import run_tests_in_guest

pytestmark = pytest.mark.guest
_SUITE = "tests/guest_inside/test_conformance.py"


def test_the_kernel_and_the_engine_do_the_same() -> None:
    run_tests_in_guest("uml-6.12", _SUITE, 400)


def test_interfaces_in_another_namespace() -> None:
    run_tests_in_guest("uml-6.12", "tests/guest_inside/test_namespaces.py", 120)
