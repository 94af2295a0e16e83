"""The scenarios of routing once more, with keys by IKE: nothing of what they say changes."""

import os
import subprocess
import sys

import pytest

from tests.support.exhaustive import EXHAUSTIVE

pytestmark = pytest.mark.root

FILES = {
    "test_covering_routes.py": "",
    "test_external_interface.py": "",
    "test_groups.py": "lost_tunnel or everything_goes or another_namespace",
    "test_guard.py": "",
    "test_mark_clashes.py": "",
    "test_namespaces.py": "",
    "test_several_gateways.py": "",
}
"""With what is chosen of each; some apply a file without a daemon, where IKE does nothing."""
BY_DEFAULT = {
    "test_covering_routes.py": "own_address",
    "test_external_interface.py": "",
    "test_groups.py": "lost_tunnel and 6",
    "test_namespaces.py": "keys_are_here or moves_home",
}
"""What runs without PLUTINO_EXHAUSTIVE; the guard at each step of IKE is in test_ike.py."""
CHOSEN = FILES if EXHAUSTIVE else BY_DEFAULT


@pytest.mark.parametrize("file", CHOSEN)
def test_it_is_the_same_with_keys_by_ike(plane: str, file: str) -> None:
    program = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-k", CHOSEN[file]]
    done = subprocess.run(
        [*program, f"tests/scenarios/{file}"],
        env=os.environ | {"PLUTINO_KEYS": "ike"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"on the {plane} plane:\n{done.stdout}{done.stderr}"
    assert "skipped" not in done.stdout
