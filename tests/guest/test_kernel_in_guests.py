"""The kernel as data plane, in a booted kernel: all of it in one, the core in packaged ones."""

import pytest

from tests.support.guest import run_in_guest, run_tests_in_guest

pytestmark = pytest.mark.guest


def test_everything_in_one_boot() -> None:
    run_tests_in_guest("uml-6.12", "tests/guest_inside/test_kernel_plane.py", 900)


@pytest.mark.parametrize("file", ["test_vti.py", "test_vti_migration.py"])
def test_vti_and_the_way_from_it(file: str) -> None:
    run_tests_in_guest("uml-6.12", f"tests/guest_inside/{file}", 600)


def test_crashes_at_every_request() -> None:
    run_tests_in_guest("uml-6.12", "tests/guest_inside/test_kernel_crashes.py", 400)


@pytest.mark.parametrize("kernel", ["qemu-6.12"])
def test_the_demo_on_the_kernel_that_users_run(kernel: str) -> None:
    demo = [".venv/bin/plutino", "demo", "--plane", "kernel"]
    done = run_in_guest(kernel, demo, 400)
    assert done.returncode == 0, done.stdout + done.stderr
