"""The kernel as data plane, in a booted kernel: all of it in one, the core in packaged ones."""

import pytest

from tests.support.exhaustive import EXHAUSTIVE
from tests.support.guest import UML, run_in_guest, run_tests_in_guest

pytestmark = pytest.mark.guest
VTI = "not heals and not ours_go and not undone and not routing_protocols and not without_the_wider"
"""What runs of it without PLUTINO_EXHAUSTIVE."""


def test_everything_in_one_boot() -> None:
    run_tests_in_guest(UML, "tests/guest_inside/test_kernel_plane.py", 900)


@pytest.mark.beside
@pytest.mark.parametrize(
    "tests",
    ["test_interchange.py", "test_interchange_transport.py", "test_changed_options.py"],
)
def test_the_kernel_and_the_engine_understand_each_other(tests: str) -> None:
    run_tests_in_guest(UML, f"tests/guest_inside/{tests}", 900)


@pytest.mark.parametrize(
    "files",
    [
        pytest.param(
            ["test_iproute2.py", "test_iproute2_apply.py", "test_vrf.py", "test_mtu.py"],
            id="links and SAs",
            marks=pytest.mark.beside,
        ),
        pytest.param(
            ["test_vti.py", "test_vti_migration.py", "test_vti_uplinks.py", "test_readme_vti.py"],
            id="VTI",
        ),
    ],
)
def test_what_the_kernel_makes_of_it(files: list[str]) -> None:
    chosen = "" if EXHAUSTIVE or "test_vti.py" not in files else VTI
    places = " ".join(f"tests/guest_inside/{one}" for one in files)
    run_tests_in_guest(UML, places, 900, chosen)


@pytest.mark.beside
def test_crashes_at_every_request() -> None:
    run_tests_in_guest(UML, "tests/guest_inside/test_kernel_crashes.py", 400)


def test_offload_as_far_as_netdevsim_shows_it() -> None:
    run_tests_in_guest(UML, "tests/guest_inside/test_offload.py", 200)


@pytest.mark.parametrize("kernel", [UML, "qemu-6.12", "qemu-6.1"])
def test_what_each_kernel_can_do_is_found_by_trying(kernel: str) -> None:
    files = "tests/guest_inside/test_probe.py"
    if kernel != "qemu-6.1":  # an old one is for what is found, not for our tests
        files += " tests/guest_inside/test_features.py"
    every = EXHAUSTIVE or kernel == UML
    chosen = "" if every else "test_features or doctor_finds"  # processors are emulated there
    run_tests_in_guest(kernel, files, 900, chosen)


@pytest.mark.parametrize("kernel", ["qemu-6.12"])
def test_the_demo_on_the_kernel_that_users_run(kernel: str) -> None:
    # Of IKE the kernel sees nothing, and on an emulated processor it takes its time to load.
    demo = [".venv/bin/plutino", "demo", "--plane", "kernel", "--keys", "static"]
    done = run_in_guest(kernel, demo, 600)
    assert done.returncode == 0, done.stdout + done.stderr
