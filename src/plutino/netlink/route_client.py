"""Addresses, routes and rules beside the links of the current network namespace, over rtnetlink."""

import errno
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from plutino.model.errors import KernelError, PlaneError
from plutino.model.link import Address, Link, Route
from plutino.model.mark_use import MarkRule
from plutino.model.policy import IpAddress
from plutino.model.rule import Rule
from plutino.model.subject import describe_route, describe_rule
from plutino.netlink.link_client import LinkClient
from plutino.netlink.route.constants import AF_INET, AF_INET6, RouteMessage
from plutino.netlink.route.links import (
    encode_link_header,
    parse_link,
)
from plutino.netlink.route.messages import (
    encode_address,
    encode_address_dump,
    encode_route,
    encode_route_dump,
    encode_route_query,
    leads_to_this_machine,
    parse_address,
    parse_route,
    parse_route_answer,
)
from plutino.netlink.route.rules import encode_rule, encode_rule_dump, parse_mark_rule, parse_rule
from plutino.netlink.wire import NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE

_Value = TypeVar("_Value", Link, Address, Route, Rule)
_CREATE = NLM_F_CREATE | NLM_F_EXCL
_REPLACE = NLM_F_CREATE | NLM_F_REPLACE
_NO_WAY = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL)
"""The last one is the answer of routes and rules of type ``blackhole``."""
_NO_LINKS: Final[Mapping[int, Link]] = {}


class RouteClient(LinkClient):
    """Everything that rtnetlink knows of one namespace."""

    # --- addresses

    def list_addresses(self) -> tuple[Address, ...]:
        """All addresses of both families."""
        names = self._names()
        return self._dump(
            "list addresses",
            RouteMessage.GETADDR,
            encode_address_dump(),
            lambda payload: parse_address(payload, names),
        )

    def add_address(self, address: Address) -> None:
        """Add an address; EEXIST if the interface has it."""
        step = f"add {_name_address(address, 'to')}"
        indexes = {address.interface: self._index(address.interface, step)}
        payload = encode_address(address, indexes)
        self._socket.request(step, RouteMessage.NEWADDR, payload, flags=_CREATE)

    def delete_address(self, address: Address) -> None:
        """Remove an address; EADDRNOTAVAIL if the interface has it not."""
        step = f"delete {_name_address(address, 'from')}"
        indexes = {address.interface: self._index(address.interface, step)}
        self._socket.request(step, RouteMessage.DELADDR, encode_address(address, indexes))

    def add_addresses(self, addresses: Sequence[Address]) -> None:
        """Many at once. Raises BatchRefusedError."""
        self._change_many(
            RouteMessage.NEWADDR,
            [[one.interface] for one in addresses],
            lambda place, indexes: encode_address(addresses[place], indexes),
            lambda place: f"add {_name_address(addresses[place], 'to')}",
            _CREATE,
        )

    def delete_addresses(self, addresses: Sequence[Address]) -> None:
        """Many at once. Raises BatchRefusedError."""
        self._change_many(
            RouteMessage.DELADDR,
            [[one.interface] for one in addresses],
            lambda place, indexes: encode_address(addresses[place], indexes),
            lambda place: f"delete {_name_address(addresses[place], 'from')}",
        )

    # --- routes

    def list_routes(self, *, protocol: int | None = None) -> tuple[Route, ...]:
        """Unicast and unreachable routes of all tables, of one ``rtm_protocol`` if given."""
        names = self._names()
        routes: list[Route] = []
        for family in (AF_INET, AF_INET6):
            routes += self._dump(
                "list routes",
                RouteMessage.GETROUTE,
                encode_route_dump(family, protocol),
                lambda payload: parse_route(payload, names),
            )
        return tuple(one for one in routes if protocol in (None, one.protocol))

    def add_route(self, route: Route) -> None:
        """Add a route; EEXIST if there is one of the same prefix, table and metric."""
        self._change_route("add", RouteMessage.NEWROUTE, route, _CREATE)

    def replace_routes(self, routes: Sequence[Route]) -> None:
        """Each takes the place of the one of its prefix, table and metric, without a gap."""
        for route in routes:
            self._change_route("replace", RouteMessage.NEWROUTE, route, _REPLACE)

    def add_routes(self, routes: Sequence[Route]) -> None:
        """Many at once. Raises BatchRefusedError."""
        self._change_many(
            RouteMessage.NEWROUTE,
            [one.interfaces for one in routes],
            lambda place, indexes: encode_route(routes[place], indexes),
            lambda place: f"add route {describe_route(routes[place])}",
            _CREATE,
        )

    def delete_routes(self, routes: Sequence[Route]) -> None:
        """Many at once; one of several ways whatever ways are left. Raises BatchRefusedError."""
        wanted = [replace(one, nexthops=()) for one in routes]
        self._change_many(
            RouteMessage.DELROUTE,
            [one.interfaces for one in wanted],
            lambda place, indexes: encode_route(wanted[place], indexes),
            lambda place: f"delete route {describe_route(routes[place])}",
        )

    def delete_route(self, route: Route) -> None:
        """Remove exactly this route; ESRCH if it is not there."""
        self._change_route("delete", RouteMessage.DELROUTE, replace(route, nexthops=()))

    def _change_route(self, verb: str, kind: RouteMessage, route: Route, flags: int = 0) -> None:
        step = f"{verb} route {describe_route(route)}"
        indexes = {name: self._index(name, step) for name in route.interfaces}
        self._socket.request(step, kind, encode_route(route, indexes), flags=flags)

    # --- rules

    def list_rules(self, *, protocol: int | None = None) -> tuple[Rule, ...]:
        """Rules of both IP versions that the model can express, of one ``protocol`` if given."""
        rules: list[Rule] = []
        for version in (4, 6):
            rules += self._dump(
                "list rules", RouteMessage.GETRULE, encode_rule_dump(version), parse_rule
            )
        return tuple(one for one in rules if protocol in (None, one.protocol))

    def list_mark_rules(self) -> tuple[MarkRule, ...]:
        """What any rule, also of others, does with marks."""
        found: list[MarkRule] = []
        for version in (4, 6):
            dump = encode_rule_dump(version)
            messages = self._socket.request(
                "list rules", RouteMessage.GETRULE, dump, flags=NLM_F_DUMP
            )
            found += filter(None, (parse_mark_rule(one.payload) for one in messages))
        return tuple(found)

    def add_rules(self, rules: Sequence[Rule]) -> None:
        """RTM_NEWRULE; EEXIST if there is the same. Raises BatchRefusedError."""
        self._socket.request_many(
            [(int(RouteMessage.NEWRULE), encode_rule(one), _CREATE) for one in rules],
            lambda place: f"add rule {describe_rule(rules[place])}",
        )

    def delete_rules(self, rules: Sequence[Rule]) -> None:
        """RTM_DELRULE; ENOENT if there is no such rule. Raises BatchRefusedError."""
        self._socket.request_many(
            [(int(RouteMessage.DELRULE), encode_rule(one), 0) for one in rules],
            lambda place: f"delete rule {describe_rule(rules[place])}",
        )

    def path_mtu(
        self,
        destination: IpAddress,
        source: IpAddress | None = None,
        mark: int = 0,
        *,
        links: Mapping[int, Link] = _NO_LINKS,
    ) -> tuple[str, int] | None:
        """Outgoing link and MTU in bytes towards an address; None if there is no way.

        ``links`` are those that are known, by index: who asks for many paths has them.
        """
        try:
            answer = self._path(destination, source, mark)
        except KernelError as error:
            # Our own address may not be there yet: the way is the same without it.
            if source is not None and error.errno in (errno.EINVAL, errno.ENETUNREACH):
                return self.path_mtu(destination, None, mark, links=links)
            if error.errno in _NO_WAY:
                return None
            raise
        index, mtu = parse_route_answer(answer)
        link = links.get(index) or self._link_at(index)
        return None if link is None else (link.name, min(mtu or link.mtu, link.mtu))

    def is_of_this_machine(self, address: IpAddress, mark: int = 0) -> bool:
        """Whether what goes to an address arrives here; False as well where there is no way.

        Raises KernelError.
        """
        try:
            return leads_to_this_machine(self._path(address, None, mark))
        except KernelError as error:
            if error.errno in _NO_WAY:
                return False
            raise

    def _link_at(self, index: int) -> Link | None:
        """By its index: many paths are asked for, where a list of all links would be long."""
        payload = encode_link_header(index)
        try:
            replies = self._socket.request(f"find link {index}", RouteMessage.GETLINK, payload)
        except KernelError as error:
            if error.errno == errno.ENODEV:
                return None
            raise
        found = (parse_link(one.payload) for one in replies if one.type == RouteMessage.NEWLINK)
        return next(found, None)

    def _path(self, destination: IpAddress, source: IpAddress | None, mark: int) -> bytes:
        step = f"find the route to {destination}"
        payload = encode_route_query(destination, source, mark)
        for message in self._socket.request(step, RouteMessage.GETROUTE, payload):
            if message.type == RouteMessage.NEWROUTE:
                return message.payload
        raise PlaneError(f"{step}: the kernel gave no route and no error")


def _name_address(address: Address, preposition: str) -> str:
    return f"address {address.address} {preposition} {address.interface}"
