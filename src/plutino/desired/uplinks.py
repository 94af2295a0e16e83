"""A routing table for each uplink, and the rules that lead marked packets there. Pure.

```
13400: from all fwmark 0x10000/0xff0000 lookup 199876
13401: from all fwmark 0x20000/0xff0000 lookup 265412
       (the rules for routes that cover a peer)
13402: from all lookup main suppress_prefixlength 0
13403: from 192.0.2.1 lookup 199876
13403: from 203.0.113.1 lookup 265412
```
Marks come before the rules for tunnels. Sources come last: what this host sends by itself from the
address of an uplink, such as the answer to a ping, leaves there if it is not for a tunnel. An
unreachable route closes each table: what belongs to an uplink that is gone does not leave by
another one with the wrong address.
"""

from collections.abc import Iterator
from ipaddress import ip_network
from typing import Final

from plutino.config.gateway import Gateway
from plutino.config.numbers import uplink_mark
from plutino.desired.instance import instance_number, lowest_priority, twin_metric
from plutino.desired.paths import next_hop, source_address
from plutino.desired.state import Surroundings
from plutino.model.link import MAIN_TABLE, Route, RouteType
from plutino.model.rule import Rule

_TABLES: Final = 1 << 16
_FIRST_TABLE: Final = 134340
UPLINK_METRIC: Final = 0x01340000
"""With the instance's low half: by it the routes are known as ours on devices that are not."""
_EVERYTHING: Final = {4: ip_network("0.0.0.0/0"), 6: ip_network("::/0")}


def uplink_metric(instance: str) -> int:
    """The metric of an instance's routes in the tables of its uplinks."""
    return UPLINK_METRIC | twin_metric(instance) & 0xFFFF


def is_uplink_route(route: Route) -> bool:
    """Whether a route of ours stands in the table of an uplink."""
    return route.metric & 0xFFFF0000 == UPLINK_METRIC


def uplink_table(gateway: Gateway, name: str) -> int:
    """The routing table of an uplink; those of other instances and uplinks differ."""
    options = gateway.uplinks[name]
    if options.table is not None:
        return options.table
    place = 1 + list(gateway.uplinks).index(name)
    return _FIRST_TABLE + place * _TABLES + instance_number(gateway.instance, _TABLES)


def compile_uplink_rules(gateway: Gateway) -> Iterator[Rule]:
    """For both IP versions, since a tunnel may use either."""
    first = lowest_priority(gateway.instance)
    for place, name in enumerate(gateway.uplinks):
        for version in (4, 6):
            mark = uplink_mark(gateway, name)
            yield Rule(version, first + place, uplink_table(gateway, name), mark=mark)


def compile_source_rules(
    gateway: Gateway, first: int, surroundings: Surroundings
) -> Iterator[Rule]:
    """For each address at an uplink, from priority ``first`` on, behind all others of ours."""
    if not gateway.uplinks:
        return
    for version in (4, 6):
        yield Rule(version, first, MAIN_TABLE, suppress_prefix_length=0)
        for name in gateway.uplinks:
            source = source_address(gateway, name, version, surroundings)
            if source is not None:
                table = uplink_table(gateway, name)
                yield Rule(version, first + 1, table, source=ip_network(source))


def compile_uplink_routes(gateway: Gateway, surroundings: Surroundings) -> Iterator[Route]:
    """The networks on the device, the default route, and the end of each table."""
    metric = uplink_metric(gateway.instance)
    for name, options in gateway.uplinks.items():
        table = uplink_table(gateway, name)
        link = surroundings.links.get((None, options.interface))
        for version, everything in _EVERYTHING.items():
            yield Route(
                everything,
                None,
                RouteType.UNREACHABLE,
                table=table,
                metric=twin_metric(gateway.instance),
            )
            if link is None or not link.up:
                continue
            networks = {
                one.network: None
                for one in surroundings.addresses.get(options.interface, ())
                if one.version == version
                and one.network.num_addresses > 1
                and not (version == 6 and one.is_link_local)
            }
            for network in networks:
                yield Route(network, options.interface, table=table, metric=metric)
            hop = next_hop(gateway, name, version, surroundings)
            if hop is not None or link.point_to_point:
                yield Route(everything, options.interface, table=table, metric=metric, gateway=hop)
