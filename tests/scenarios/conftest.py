"""What users do with a gateway, on either data plane.

Here the engine serves; inside a guest, where `tests/guest` runs the same files, the kernel does.
"""

import os
from typing import Final

import pytest

from plutino.lab.guest.run import GUEST_VARIABLE

PLANE: Final = "kernel" if GUEST_VARIABLE in os.environ else "userspace"


@pytest.fixture(scope="session")
def plane() -> str:
    """The ``data-plane`` of the gateways of a scenario."""
    return PLANE
