"""``protected``: unreachable routes for what a daemon learns, and what they may not harm."""

from ipaddress import ip_network

import pytest

from plutino.desired.state import DesiredState
from plutino.model.interface import DEFAULT_MARK_MASK
from plutino.model.link import MAIN_TABLE, Route
from tests.support.gateways import another_tunnel, compiled, gateway_text, line_of, refusal


def of(state: DesiredState, network: str) -> list[Route]:
    return [one for one in state.routes if one.destination == ip_network(network)]


def test_each_network_has_one_unreachable_route_however_many_tunnels_there_are() -> None:
    text = gateway_text(top='protected = ["10.0.0.0/8", "fd00::/8"]')
    state = compiled(text + another_tunnel("rome", "198.51.100.3", interface="ipsec2"))
    for network in ("10.0.0.0/8", "fd00::/8"):
        (route,) = of(state, network)
        assert route.interface is None
        assert route.table == MAIN_TABLE
        assert route.metric > 0xFF000000, "any route of a daemon wins"
    assert state.rules == ()


def test_it_stands_where_the_interface_is() -> None:
    top = 'protected = ["198.51.0.0/16"]'
    (route,) = of(
        compiled(gateway_text(top=top, tables='[interfaces.ipsec1]\nnamespace = "red"')),
        "198.51.0.0/16",
    )
    assert route.namespace == "red"
    (route,) = of(
        compiled(gateway_text(top=top, tables='[interfaces.ipsec1]\nvrf = "red"')),
        "198.51.0.0/16",
    )
    assert route.table == 10


def test_the_strict_guard_holds_it_too_but_for_networks_of_this_side() -> None:
    text = gateway_text(
        top='guard = "strict"\nprotected = ["10.0.0.0/8"]\noutside = ["10.9.0.0/16"]'
    )
    table = compiled(text).netfilter
    assert table is not None
    rows = [row.strip() for row in table.body.splitlines()]
    last = rows.index("ip daddr { 10.0.0.0/8 } goto guard_outside")
    assert rows.index("ip daddr { 10.9.0.0/16 } accept") < last
    esp = rows.index(f"meta mark and {DEFAULT_MARK_MASK:#x} != 0 meta l4proto esp accept")
    assert 'counter drop comment "plutino guard"' in rows[esp : rows.index("}", esp)]


@pytest.mark.parametrize(
    ("network", "more", "why"),
    [
        ("198.51.0.0/16", "", "holds the outer address 198.51.100.2 of the peer"),
        ("0.0.0.0/0", "", "holds the outer address"),
        ("::/0", "", "would compete with main's default route"),
        ("10.2.3.0/24", 'routes = ["10.2.0.0/16"]', "lies in 10.2.0.0/16 of tunnel 'berlin'"),
        ("10.2.0.0/16", 'routes = ["0.0.0.0/0"]', "lies in 0.0.0.0/0 of tunnel 'berlin'"),
    ],
)
def test_what_would_do_harm_is_refused(network: str, more: str, why: str) -> None:
    text = gateway_text(more, top=f'protected = ["{network}"]')
    problem = refusal(text, "protected[0]")
    assert why in problem.why
    assert problem.hint
    assert problem.line == line_of(text, "protected")
