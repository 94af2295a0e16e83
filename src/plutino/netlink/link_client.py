"""Links of a network namespace over rtnetlink, and what every request there shares."""

import errno
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self, TypeVar

from plutino.model.errors import BatchRefusedError, KernelError, PlaneError, WireError
from plutino.model.interface import Interface, VtiEnds
from plutino.model.link import Address, Link, Namespace, Route
from plutino.model.numbers import IfId
from plutino.model.rule import Rule
from plutino.netlink.route.constants import RouteMessage
from plutino.netlink.route.links import (
    LinkChange,
    encode_link_change,
    encode_link_dump,
    encode_link_group,
    encode_link_header,
    encode_link_name,
    encode_new_interface,
    encode_no_queue,
    encode_veth,
    encode_vti_change,
    encode_xfrm_if_id,
    parse_link,
    parse_link_name,
    parse_link_stats,
)
from plutino.netlink.socket import NETLINK_ROUTE, NetlinkSocket, Request
from plutino.netlink.wire import NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, Message

_Value = TypeVar("_Value", Link, Address, Route, Rule)
_Parsed = TypeVar("_Parsed")
_CREATE = NLM_F_CREATE | NLM_F_EXCL
_REPLACE = NLM_F_CREATE | NLM_F_REPLACE
_FEW = 4
"""Up to so many links are deleted one by one."""
_FEW_NAMES = 64
"""Up to so many links are looked for one by one."""


class LinkClient:
    """Links, by rtnetlink, of the namespace in which it, or its ``socket``, was made.

    ``namespace`` is what the objects that it lists shall bear.

    Every method raises KernelError with errno and extack on refusal, PlaneError if the kernel
    cannot be understood.
    """

    def __init__(self, socket: NetlinkSocket | None = None, *, namespace: Namespace = None) -> None:
        self._socket = socket or NetlinkSocket.kernel(NETLINK_ROUTE)
        self.namespace = namespace

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: object, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()

    # --- links

    def list_links(self) -> tuple[Link, ...]:
        """All links."""
        return self._dump("list links", RouteMessage.GETLINK, encode_link_dump(), parse_link)

    def find_link(self, name: str) -> Link | None:
        """The link of that name, or None."""
        payload = self._link_payload(name)
        return None if payload is None else self._placed(parse_link(payload))

    def indexes_of(self, names: Collection[str]) -> Mapping[str, int]:
        """Of those links among ``names`` that are there; a few are not looked for among all."""
        if len(names) > _FEW_NAMES:
            wanted = set(names)
            return {name: index for index, name in self._names().items() if name in wanted}
        found = filter(None, map(self.find_link, names))
        return {one.name: one.index for one in found}

    def link_stats(self, name: str) -> Mapping[str, int]:
        """``struct rtnl_link_stats64`` of a link; empty if it is not there."""
        payload = self._link_payload(name)
        return {} if payload is None else parse_link_stats(payload)

    def set_link(
        self,
        name: str,
        *,
        up: bool | None = None,
        mtu: int | None = None,
        alias: str | None = None,
        gso_max_segs: int | None = None,
        namespace: int | None = None,
        master: str | None = None,
        no_link_local: bool = False,
        multicast: bool | None = None,
    ) -> None:
        """Change what is given; ``mtu`` in bytes, ``namespace`` a descriptor to move it to.

        ``master`` is the name of a device to belong to, empty for none.
        """
        step = f"change link {name}"
        change = LinkChange(
            up=up,
            mtu=mtu,
            alias=alias,
            gso_max_segs=gso_max_segs,
            namespace=namespace,
            master=self._index(master, step) if master else (0 if master == "" else None),
            no_link_local=no_link_local,
            multicast=multicast,
        )
        payload = encode_link_change(self._index(name, step), change)
        self._socket.request(step, RouteMessage.NEWLINK, payload)

    def set_links(self, changes: Mapping[int, LinkChange]) -> None:
        """Change many, by index. Raises BatchRefusedError."""
        indexes = list(changes)
        self._socket.request_many(
            [
                (int(RouteMessage.NEWLINK), encode_link_change(index, change), 0)
                for index, change in changes.items()
            ],
            lambda place: f"change link {indexes[place]}",
        )

    def forgo_queues(self, indexes: Sequence[int]) -> None:
        """Let packets go straight to links, by index, that are down. Raises BatchRefusedError."""
        kind = int(RouteMessage.NEWQDISC)
        self._socket.request_many(
            [(kind, encode_no_queue(index), _REPLACE) for index in indexes],
            lambda place: f"change queues of link {indexes[place]}",
        )

    def set_links_up(self, names: Sequence[str], *, up: bool) -> None:
        """Set many up or down. Raises BatchRefusedError."""
        self._change_named(names, LinkChange(up=up), "up" if up else "down")

    def set_links_dormant(self, names: Sequence[str], *, dormant: bool) -> None:
        """Make many rest, or run again. Raises BatchRefusedError."""
        self._change_named(names, LinkChange(dormant=dormant), "dormant" if dormant else "running")

    def _change_named(self, names: Sequence[str], change: LinkChange, state: str) -> None:
        # With index 0 the kernel finds the link by its name, so nobody has to ask for indexes.
        self._socket.request_many(
            [
                (int(RouteMessage.NEWLINK), encode_link_change(0, replace(change, name=name)), 0)
                for name in names
            ],
            lambda place: f"set link {names[place]} {state}",
        )

    def create_veth(self, name: str, peer: str, *, peer_namespace: int | None = None) -> None:
        """A pair of links, the other end in the namespace of the descriptor."""
        payload = encode_veth(name, peer, peer_namespace)
        self._socket.request(f"create link {name}", RouteMessage.NEWLINK, payload, flags=_CREATE)

    def create_interfaces(self, interfaces: Sequence[Interface]) -> None:
        """XFRM interfaces and VTIs, down; EEXIST if a name, an if_id or a VTI's ends are taken.

        Raises BatchRefusedError.
        """
        self._change_many(
            RouteMessage.NEWLINK,
            [[one.link] if one.link else [] for one in interfaces],
            lambda place, indexes: encode_new_interface(
                interfaces[place], indexes.get(interfaces[place].link or "")
            ),
            lambda place: f"create link {interfaces[place].name}",
            _CREATE,
        )

    def set_xfrm_if_id(self, link: Link, if_id: IfId) -> None:
        """Give an XFRM interface another if_id; EEXIST if another link has it."""
        payload = encode_xfrm_if_id(link.index, if_id, link.underlying)
        step = f"change if_id of link {link.name}"
        self._socket.request(step, RouteMessage.NEWLINK, payload)

    def set_vti_ends(self, link: Link, vti: VtiEnds, mtu: int) -> None:
        """Other keys or ends for a VTI; EEXIST if another has those ends.

        EINVAL for a wildcard that was none or the other way round.
        """
        step = f"change keys and ends of link {link.name}"
        payload = encode_vti_change(link.index, vti, mtu)
        self._socket.request(step, RouteMessage.NEWLINK, payload)

    def delete_link(self, name: str) -> None:
        """Remove a link; ENODEV if it is not there."""
        step = f"delete link {name}"
        payload = encode_link_header(self._index(name, step))
        self._socket.request(step, RouteMessage.DELLINK, payload)

    def delete_links(self, names: Sequence[str]) -> None:
        """Remove many; those that are not there are no error. Raises KernelError.

        The kernel waits for all readers after each removal, but only once for a group of links: so
        they are put in a group of their own first.
        """
        there = self.list_links()
        wanted = set(names)
        links = [link for link in there if link.name in wanted]
        if len(links) <= _FEW:
            for link in links:
                self._delete_index(link)
            return
        group = 1 + max(link.group for link in there)
        self.set_links({link.index: LinkChange(group=group) for link in links})
        payload = encode_link_header() + encode_link_group(group)
        self._socket.request(f"delete {len(links)} links", RouteMessage.DELLINK, payload)

    def _delete_index(self, link: Link) -> None:
        step = f"delete link {link.name}"
        try:
            self._socket.request(step, RouteMessage.DELLINK, encode_link_header(link.index))
        except KernelError as error:
            if error.errno != errno.ENODEV:
                raise

    # --- what they share

    def _change_many(
        self,
        kind: RouteMessage,
        names: Sequence[Sequence[str]],
        encode: Callable[[int, Mapping[str, int]], bytes],
        describe: Callable[[int], str],
        flags: int = 0,
    ) -> None:
        """A request for each of ``names``, which are the links that it is about, if any.

        ``encode`` gets its place and the indexes of those links, ``describe`` its place.
        """
        indexes = self.indexes_of({name for several in names for name in several})
        refused: dict[int, KernelError] = {}
        requests: list[Request] = []
        places: list[int] = []
        for place, several in enumerate(names):
            if lacking := set(several) - indexes.keys():
                why = f"no link {min(lacking)}"
                refused[place] = KernelError(describe(place), errno.ENODEV, why)
            else:
                requests.append((int(kind), encode(place, indexes), flags))
                places.append(place)
        try:
            self._socket.request_many(requests, lambda sent: describe(places[sent]))
        except BatchRefusedError as error:
            refused |= {places[sent]: why for sent, why in error.refused.items()}
        if refused:
            raise BatchRefusedError(refused)

    def _dump(
        self, step: str, kind: int, payload: bytes, parse: Callable[[bytes], _Value | None]
    ) -> tuple[_Value, ...]:
        parsed = self._parsed(step, kind, payload, parse)
        return tuple(self._placed(value) for value in parsed if value is not None)

    def _parsed(
        self, step: str, kind: int, payload: bytes, parse: Callable[[bytes], _Parsed]
    ) -> list[_Parsed]:
        messages = self._socket.request(step, kind, payload, flags=NLM_F_DUMP)
        try:
            return [parse(message.payload) for message in messages]
        except WireError as error:
            raise PlaneError(f"{step}: the answer cannot be read: {error}") from error

    def _placed(self, value: _Value) -> _Value:
        if self.namespace is None or isinstance(value, Rule):
            return value
        return replace(value, namespace=self.namespace)

    def _link_payload(self, name: str) -> bytes | None:
        try:
            replies: tuple[Message, ...] = self._socket.request(
                f"find link {name}", RouteMessage.GETLINK, encode_link_name(name)
            )
        except KernelError as error:
            if error.errno == errno.ENODEV:
                return None
            raise
        return next((one.payload for one in replies if one.type == RouteMessage.NEWLINK), None)

    def _names(self) -> Mapping[int, str]:
        dump = encode_link_dump()
        return dict(self._parsed("list links", RouteMessage.GETLINK, dump, parse_link_name))

    def _index(self, name: str, step: str) -> int:
        link = self.find_link(name)
        if link is None:
            raise KernelError(step, errno.ENODEV, f"no link {name}")
        return link.index
