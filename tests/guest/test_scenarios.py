"""The scenarios of `tests/scenarios` with the kernel as data plane."""

import pytest

from tests.support.guest import run_tests_in_guest

pytestmark = pytest.mark.guest


def test_scenarios_on_the_kernel() -> None:
    run_tests_in_guest("uml-6.12", "tests/scenarios", 900)
