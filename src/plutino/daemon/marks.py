"""Finds clashes of marks with what others do on this machine."""

from functools import lru_cache

from plutino.config.gateway import Gateway
from plutino.desired.mark_clashes import mark_clashes
from plutino.desired.rules import is_our_rule
from plutino.desired.state import DesiredState
from plutino.model.errors import PlaneError, Problem
from plutino.model.link import RTPROT_PLUTINO
from plutino.model.mark_use import MarkRule, MarkSetter
from plutino.model.netfilter import table_name
from plutino.netfilter.foreign_marks import foreign_mark_setters
from plutino.netfilter.generation import ruleset_generation
from plutino.netlink.route_clients import RouteClients


def find_mark_clashes(
    gateway: Gateway, desired: DesiredState, routes: RouteClients
) -> tuple[Problem, ...]:
    """What clashes now. The rules of nftables are read again only when some of them changed."""
    ours = {
        (rule.version, rule.priority)
        for rule in routes.home.list_rules(protocol=RTPROT_PLUTINO)
        if is_our_rule(rule, gateway.instance)
    }
    rules: tuple[MarkRule, ...] = tuple(
        rule for rule in routes.home.list_mark_rules() if (rule.version, rule.priority) not in ours
    )
    setters: tuple[MarkSetter, ...] = ()
    if desired.rules:
        try:
            setters = _setters(table_name(gateway.instance), ruleset_generation())
        except PlaneError:
            setters = foreign_mark_setters(table_name(gateway.instance))
    return mark_clashes(gateway, desired, rules, setters)


@lru_cache(maxsize=2)
def _setters(own_table: str, _generation: tuple[int, int]) -> tuple[MarkSetter, ...]:
    return foreign_mark_setters(own_table)
