"""What users do with a gateway, on either data plane.

Here the engine serves; inside a guest, where `tests/guest` runs the same files, the kernel does.
"""

import os
from pathlib import Path
from typing import Final

import pytest

from plutino.lab.guest.run import GUEST_VARIABLE
from tests.support.exhaustive import EXHAUSTIVE

FOLDER: Final = Path(__file__).parent

PLANE: Final = "kernel" if GUEST_VARIABLE in os.environ else "userspace"


@pytest.fixture(scope="session")
def plane() -> str:
    """The ``data-plane`` of the gateways of a scenario."""
    return PLANE


FURTHER = {
    "test_covering_routes.py": ("tunnel[4]", "[link set ipsec1 down]", "[rule del priority 13400]"),
    "test_groups.py": (
        "second[peer", "second[blackholed", "lost_one[4]", "healed[link set", "[active-standby]",
    ),
    "test_guard_forwarding.py": ("send[on-True]", "[on-True-4]", "[strict-False-6]"),
    "test_ike.py": ("[4-udp]", "[6-esp]", "[rekey-octets"),
    "test_ike_uplinks.py": ("any_address[true]", "have_a_name[4]"),
    "test_ike_keys_for_wireshark.py": ("aes256gcm16",),
    "test_ike_rekeys.py": ("[one]", "[both]"),
    "test_ike_ocsp.py": ("silent_responder",),
    "test_ike_proofs.py": ("[berlin]",),
    "test_ike_scale.py": ("[20]",),
    "test_learnt_routes.py": ("[4-1-strict]", "[6-0-strict]"),
    "test_mark_clashes.py": ("[plan]",),
    "test_nat_exempt.py": ("translate[-4]", "case1"),
    "test_routing_daemons.py": ("[change_uplink]", "[kill_engine]", "babel"),
    "test_uplinks.py": (
        "[standby-blackholed]", "[moved-link", "tunnel[4]", "probes[address", "carries_it[on]",
    ),
}  # fmt: skip
"""Of each file what only PLUTINO_EXHAUSTIVE runs: further forms of what is run anyway."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves those out, unless they are named."""
    if EXHAUSTIVE or any("::" in one for one in config.args):
        return
    left_out = [
        one
        for one in items
        if one.path.parent == FOLDER
        and any(words in one.name for words in FURTHER.get(one.path.name, ()))
    ]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [one for one in items if one not in left_out]
