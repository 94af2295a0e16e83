"""The scenarios of routing once more, with keys by IKE: nothing of what they say changes."""

import os
import subprocess
import sys

import pytest

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


@pytest.mark.parametrize("file", FILES)
def test_it_is_the_same_with_keys_by_ike(plane: str, file: str) -> None:
    program = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-k", FILES[file]]
    done = subprocess.run(
        [*program, f"tests/scenarios/{file}"],
        env=os.environ | {"PLUTINO_KEYS": "ike"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"on the {plane} plane:\n{done.stdout}{done.stderr}"
    assert "skipped" not in done.stdout
