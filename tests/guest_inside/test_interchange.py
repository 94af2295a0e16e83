"""The kernel and the engine talk to each other in tunnel and BEET mode, with every algorithm.

For transport mode, which no XFRM interface of the kernel can do, see
``test_interchange_transport.py``.
"""

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from plutino.dataplane.engine_client import EngineClient
from plutino.dataplane.xfrm_stat import XFRM_STAT, parse_xfrm_stat
from plutino.lab.demo import BERLIN, PARIS
from plutino.lab.traffic import MARKER, transfer
from plutino.model.policy import Mode
from tests.support.exhaustive import covering
from tests.support.interchange import PATH_MTU, Case, Interchange, every_case, interchange
from tests.support.iproute2 import ip

pytestmark = pytest.mark.guest

CASES = covering(
    tuple(every_case()),
    lambda case: (case.suite.name, case.mode, case.inner, case.outer, case.encapsulation),
)
TOGETHER = 48
"""So many tunnels are up at the same time; in a guest more take their time."""
TCP_OCTETS = 1 << 16
_BEET_ROOM = {(4, 4): 8, (4, 6): 28, (6, 4): 20, (6, 6): 0}
"""By inner and outer IP version: for a pseudo header of IPv4 (IPV4_BEET_PHMAXLEN), and what the
kernel does not know that IPv6 saves in IPv4 (``xfrm_state_mtu()``)."""


def group_of(case: Case) -> int:
    return CASES.index(case) // TOGETHER


@pytest.fixture(scope="module")
def lab_of(request: pytest.FixtureRequest) -> Iterator[Callable[[Case], Interchange]]:
    """The lab in which a case is up, with those of its group that were chosen (`-k`)."""
    items = (item for item in request.session.items if isinstance(item, pytest.Function))
    chosen = {item.callspec.params["case"] for item in items if hasattr(item, "callspec")}
    up: dict[int, Interchange] = {}
    with ExitStack() as stack:

        def find(case: Case) -> Interchange:
            group = group_of(case)
            if group not in up:
                stack.close()
                up.clear()
                cases = [one for one in CASES if one in chosen and group_of(one) == group]
                up[group] = stack.enter_context(interchange(cases))
                up[group].signal_daemons(signal.SIGSTOP)
            return up[group]

        yield find


def mtu_of(pair: Interchange, case: Case) -> int:
    """Of the interface, which is the same at both ends; neither keeps queues of its own."""
    found = []
    for host in (pair.kernel, pair.engine):
        with host.namespace.entered():
            (link,) = json.loads(ip(f"-j link show {case.interface}"))
        # Where the kernel chooses, a TUN that is up takes 3 MB for 256 queues.
        assert link["qdisc"] == "noqueue", host.name
        found.append(link["mtu"])
    assert found[0] == found[1]
    return int(found[0])


def drops(pair: Interchange) -> dict[str, int]:
    """What both ends have dropped so far."""
    with pair.kernel.namespace.entered():
        counters = dict(parse_xfrm_stat(XFRM_STAT.read_text()))
    client = EngineClient(pair.engine.engine_socket)
    counters |= {f"engine's {name}": count for name, count in client.stat().items()}
    client.close()
    return {name: count for name, count in counters.items() if count}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_both_understand_each_other(lab_of: Callable[[Case], Interchange], case: Case) -> None:
    pair = lab_of(case)
    mtu = mtu_of(pair, case)
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
    assert drops(pair) == {}
