"""The scenarios of `tests/scenarios` with the kernel as data plane, several files in one boot."""

from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.support.exhaustive import EXHAUSTIVE
from tests.support.guest import UML, run_tests_in_guest

pytestmark = pytest.mark.guest

FOLDER = Path(__file__).parents[1] / "scenarios"
BOOTS = {
    "guard": ["test_guard*.py", "test_fault_drill.py"],
    "uplinks": ["test_uplinks.py", "test_groups.py", "test_routing_daemons.py"],
    "ike": ["test_ike*.py", "test_with_keys_by_ike.py"],
    "others": ["*"],
}
"""A file is in the first one that it fits."""
BESIDE = {"guard", "uplinks"}
"""In the other lane, so that both take as long."""

CHOSEN = {
    "test_covering_routes.py": "own_address or everything_goes",
    "test_groups.py": "(lost_tunnel and 6) or spread",
    "test_guard.py": "interface or transforms or keys or counted",
    "test_guard_forwarding.py": "strict",
    "test_guard_prefixes.py": "6",
    "test_ike.py": "4-esp or 6-udp or packet_starts or rekey-packets",
    "test_ike_any.py": "comes_from",
    "test_ike_keys_for_wireshark.py": "modp",
    "test_ike_ocsp.py": "asked_outside",
    "test_ike_process.py": "nothing_but_ike or esp",
    "test_ike_proofs.py": "nothing_here",
    "test_ike_rekeys.py": "at-once",
    "test_ike_restart.py": "esp-9",
    "test_ike_uplinks.py": "blackholed and 6",
    "test_learnt_routes.py": "6-1",
    "test_external_interface.py": "fd00 or route_that_is_taken",
    "test_link.py": "all_nodes or no_path_is_left",
    "test_mark_clashes.py": "apply or real_iptables or takes_the_mark",
    "test_namespaces.py": "moves_home or comes_back or nothing_is_left",
    "test_nat_exempt.py": "case0",
    "test_routing_daemons.py": "rekey",
    "test_selectors.py": "dropped",
    "test_several_gateways.py": "two_instances",
    "test_readme_examples.py": "two_providers",
    "test_silent_daemon.py": "esp_comes",
    "test_sysctls.py": "set_and_put_back",
    "test_uplinks.py": "used_again or answered_there or nothing_is_left",
    "test_with_keys_by_ike.py": "nothing_here",
}
"""What runs here of a file without PLUTINO_EXHAUSTIVE: the data plane has little part in the
others, which run on the host each time."""


def files_of(boot: str) -> list[str]:
    """Those that no boot before has."""
    names = sorted(one.name for one in FOLDER.glob("test_*.py"))
    for one, patterns in BOOTS.items():
        mine = [name for name in names if any(fnmatch(name, pattern) for pattern in patterns)]
        if one == boot:
            return mine
        names = [name for name in names if name not in mine]
    raise KeyError(boot)


def expression(files: list[str]) -> str:
    """What pytest's ``-k`` takes, to choose in each file as above."""
    if EXHAUSTIVE:
        return ""
    parts = ((name, CHOSEN.get(name)) for name in files)
    return " or ".join(
        name if chosen is None else f"({name} and ({chosen}))" for name, chosen in parts
    )


@pytest.mark.parametrize(
    "boot",
    [pytest.param(one, marks=pytest.mark.beside if one in BESIDE else ()) for one in BOOTS],
)
def test_scenarios_on_the_kernel(boot: str) -> None:
    files = files_of(boot)
    places = " ".join(f"tests/scenarios/{name}" for name in files)
    run_tests_in_guest(UML, places, 1500, expression(files))
