"""The kernel and the engine talk to each other in transport mode, with every algorithm.

The kernel's side has no interface, since its XFRM interfaces cannot do transport mode.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from plutino.lab.demo import BERLIN, PARIS
from plutino.lab.traffic import MARKER, transfer
from plutino.netlink.route_client import RouteClient
from tests.support.exhaustive import covering
from tests.support.transport_lab import TransportCase, TransportLab, transport_cases, transport_lab

pytestmark = pytest.mark.guest

CASES = covering(
    tuple(transport_cases()), lambda case: (case.suite.name, case.version, case.encapsulation)
)
TOGETHER = 48
"""So many tunnels are up at the same time."""
TCP_OCTETS = 1 << 16


@pytest.fixture(scope="module")
def lab_of(request: pytest.FixtureRequest) -> Iterator[Callable[[TransportCase], TransportLab]]:
    """The lab in which a case is up, with those of its group that were chosen (`-k`)."""
    items = (item for item in request.session.items if isinstance(item, pytest.Function))
    chosen = {item.callspec.params["case"] for item in items if hasattr(item, "callspec")}
    up: dict[int, TransportLab] = {}
    with ExitStack() as stack:

        def find(case: TransportCase) -> TransportLab:
            group = CASES.index(case) // TOGETHER
            if group not in up:
                stack.close()
                up.clear()
                first = group * TOGETHER
                cases = [one for one in CASES[first : first + TOGETHER] if one in chosen]
                up[group] = stack.enter_context(transport_lab(cases))
            return up[group]

        yield find


@pytest.mark.parametrize("case", CASES, ids=str)
def test_both_understand_each_other(
    lab_of: Callable[[TransportCase], TransportLab], case: TransportCase
) -> None:
    lab = lab_of(case)
    with lab.berlin.namespace.entered(), RouteClient() as routes:
        link = routes.find_link(case.interface)
    assert link is not None
    lengths = (60, 61, 300, link.mtu)
    assert lab.probes[BERLIN].unanswered(case.paris, lengths, MARKER) == []
    lost = lab.probes[PARIS].unanswered(case.berlin, lengths, MARKER, source=case.paris)
    assert lost == []
    done = transfer(lab.berlin.namespace, lab.paris.namespace, case.paris, octets=TCP_OCTETS)
    assert done.intact, done.error
    frames = lab.esp(case)
    assert any(MARKER in frame for frame in frames) is not case.suite.is_secret
