"""The kernel and the engine talk to each other in every mode, with every algorithm.

Transport mode is not among them: no XFRM interface of the kernel can do it, which plutino refuses
(tested below); the kernel's SAs of that mode and the engine's are compared by the conformance
scenarios, and read by other judges in ``tests/engine/test_judges_matrix.py``.
"""

import json
import signal
from collections.abc import Iterator

import pytest

from plutino.lab.demo import BERLIN, PARIS
from plutino.lab.traffic import MARKER, transfer
from plutino.model.policy import Mode
from plutino.netlink.route_client import RouteClient
from tests.support.interchange import (
    PATH_MTU,
    Case,
    Interchange,
    every_case,
    interchange,
)
from tests.support.iproute2 import ip

pytestmark = pytest.mark.guest

CASES = tuple(every_case())
IN_A_GROUP = 48
GROUPS = tuple(CASES[first : first + IN_A_GROUP] for first in range(0, len(CASES), IN_A_GROUP))
"""So many tunnels are up together: in a guest more take their time."""
ALL_GROUPS = pytest.mark.parametrize("pair", range(len(GROUPS)), indirect=True)
TCP_OCTETS = 1 << 16
_BEET_ROOM = {(4, 4): 8, (4, 6): 8, (6, 4): 20, (6, 6): 0}
"""By inner and outer IP version: for a pseudo header of IPv4 (IPV4_BEET_PHMAXLEN), and what the
kernel does not know that IPv6 saves in IPv4 (``xfrm_state_mtu()``)."""


@pytest.fixture(scope="module")
def pair(request: pytest.FixtureRequest) -> Iterator[Interchange]:
    """With the tunnels of one group, as far as they were chosen (`-k`)."""
    items = (item for item in request.session.items if isinstance(item, pytest.Function))
    chosen = {item.callspec.params.get("case") for item in items if hasattr(item, "callspec")}
    with interchange([case for case in GROUPS[request.param] if case in chosen]) as both:
        both.signal_daemons(signal.SIGSTOP)
        yield both


@pytest.fixture(scope="module")
def mtus(pair: Interchange) -> dict[str, int]:
    """Of the tunnels' interfaces, which is the same at both ends."""
    there = []
    for host in (pair.kernel, pair.engine):
        with host.namespace.entered(), RouteClient() as routes:
            there.append({link.name: link.mtu for link in routes.list_links() if link.alias})
    assert there[0] == there[1]
    return there[0]


@pytest.mark.parametrize(
    ("pair", "case"),
    [
        pytest.param(number, case, id=str(case))
        for number, group in enumerate(GROUPS)
        for case in group
    ],
    indirect=["pair"],
)
def test_both_understand_each_other(pair: Interchange, mtus: dict[str, int], case: Case) -> None:
    mtu = mtus[case.interface]
    for version in case.inner:
        # In BEET mode the kernel carries no fragments, which is what the last one becomes.
        lengths = (60, 61, 300, mtu, *((mtu + 1,) if case.mode is Mode.TUNNEL else ()))
        for here, there in ((PARIS, BERLIN), (BERLIN, PARIS)):
            lost = pair.probes[here].unanswered(case.address(there, version), lengths, MARKER)
            assert lost == [], f"IPv{version} from {here}"
        for source, sink in ((pair.kernel, pair.engine), (pair.engine, pair.kernel)):
            address = case.address(sink.name, version)
            done = transfer(source.namespace, sink.namespace, address, octets=TCP_OCTETS)
            assert done.intact, f"TCP to {address}: {done.error}"
    frames = pair.esp_of(case)
    longest = max(map(len, frames)) - 14
    slack = case.suite.encryption.block_size
    if case.mode is Mode.BEET:
        slack += _BEET_ROOM[case.inner[0], case.outer]
    assert PATH_MTU - slack < longest <= PATH_MTU
    assert any(MARKER in frame for frame in frames) is not case.suite.is_secret


@ALL_GROUPS
def test_nothing_was_dropped(pair: Interchange) -> None:
    pair.signal_daemons(signal.SIGCONT)
    for host in (pair.kernel, pair.engine):
        report = host.status()
        assert report is not None
        assert [(drop.name, drop.packets) for drop in report.drops if drop.packets] == []


@ALL_GROUPS
def test_no_link_keeps_queues_of_its_own(pair: Interchange, mtus: dict[str, int]) -> None:
    """Where the kernel chooses, a TUN that is up takes 3 MB for 256 queues."""
    for host in (pair.kernel, pair.engine):
        with host.namespace.entered():
            qdiscs = {one["ifname"]: one["qdisc"] for one in json.loads(ip("-j link"))}
        assert {name: qdiscs[name] for name in mtus} == dict.fromkeys(mtus, "noqueue")
