"""The kernel and the engine talk to each other in transport mode, with every algorithm.

The kernel's side has no interface, since its XFRM interfaces cannot do transport mode.
"""

from collections.abc import Iterator

import pytest

from plutino.config.static_keys import StaticKeys
from plutino.lab.demo import BERLIN, PARIS
from plutino.lab.traffic import MARKER, transfer
from plutino.netlink.route_client import RouteClient
from tests.support.transport_lab import TransportCase, TransportLab, transport_cases, transport_lab

pytestmark = pytest.mark.guest

CASES = tuple(transport_cases())
TCP_OCTETS = 1 << 16
_Up = tuple[TransportLab, dict[TransportCase, StaticKeys]]


@pytest.fixture(scope="module")
def up(request: pytest.FixtureRequest) -> Iterator[_Up]:
    """With the cases that were chosen (`-k`)."""
    items = (item for item in request.session.items if isinstance(item, pytest.Function))
    chosen = {item.callspec.params["case"] for item in items if hasattr(item, "callspec")}
    with transport_lab([case for case in CASES if case in chosen]) as lab:
        yield lab


@pytest.mark.parametrize("case", CASES, ids=str)
def test_both_understand_each_other(up: _Up, case: TransportCase) -> None:
    lab, keys = up
    with lab.berlin.namespace.entered(), RouteClient() as routes:
        link = routes.find_link(case.interface)
    assert link is not None
    lengths = (60, 61, 300, link.mtu)
    assert lab.probes[BERLIN].unanswered(case.paris, lengths, MARKER) == []
    lost = lab.probes[PARIS].unanswered(case.berlin, lengths, MARKER, source=case.paris)
    assert lost == []
    done = transfer(lab.berlin.namespace, lab.paris.namespace, case.paris, octets=TCP_OCTETS)
    assert done.intact, done.error
    frames = lab.esp(case, keys[case])
    assert any(MARKER in frame for frame in frames) is not case.suite.is_secret
