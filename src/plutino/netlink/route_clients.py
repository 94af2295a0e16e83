"""rtnetlink of several network namespaces at once: the own one, and others by name."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from types import TracebackType
from typing import Protocol, Self, TypeVar

from plutino.model.errors import BatchRefusedError, KernelError
from plutino.model.interface import Interface
from plutino.model.link import Address, Link, Namespace, Route
from plutino.netlink.namespaces import (
    NamespaceMissingError,
    in_namespace,
    open_namespace,
)
from plutino.netlink.route_client import RouteClient
from plutino.netlink.socket import NETLINK_ROUTE, NetlinkSocket


class _Placed(Protocol):
    @property
    def namespace(self) -> Namespace: ...


_Subject = TypeVar("_Subject", bound=_Placed)
_Value = TypeVar("_Value")


class RouteClients:
    """A ``RouteClient`` for each namespace. ``missing`` are names that there is nothing for.

    What is listed bears its namespace; what is changed is changed where it says.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._clients: dict[Namespace, RouteClient] = {}
        self._descriptors: dict[Namespace, int] = {None: open_namespace(None)}
        missing = []
        try:
            self._clients[None] = RouteClient()
            for name in sorted(set(names)):
                try:
                    self._open(name)
                except NamespaceMissingError:
                    missing.append(name)
        except BaseException:
            self.close()
            raise
        self.missing = frozenset(missing)

    def _open(self, name: str) -> None:
        descriptor = open_namespace(name)
        self._descriptors[name] = descriptor
        socket = in_namespace(descriptor, lambda: NetlinkSocket.kernel(NETLINK_ROUTE))
        self._clients[name] = RouteClient(socket, namespace=name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: object, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of all sockets and namespaces."""
        for client in self._clients.values():
            client.close()
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._clients.clear()
        self._descriptors.clear()

    def __getitem__(self, namespace: Namespace) -> RouteClient:
        """The client of a namespace, None for the own one. Raises NamespaceMissingError."""
        try:
            return self._clients[namespace]
        except KeyError:
            raise NamespaceMissingError(
                f"there is no network namespace {namespace}", hint="see `ip netns list`"
            ) from None

    @property
    def home(self) -> RouteClient:
        """Of the own namespace, where keys and outer packets are."""
        return self._clients[None]

    def descriptor(self, namespace: Namespace) -> int:
        """A descriptor of a namespace, to move links there. Raises NamespaceMissingError."""
        self[namespace]
        return self._descriptors[namespace]

    def inside(self, namespace: Namespace, work: Callable[[], _Value]) -> _Value:
        """Do ``work`` where the calling thread is, or in another namespace, in a thread there."""
        return work() if namespace is None else in_namespace(self.descriptor(namespace), work)

    # --- of all namespaces

    def list_links(self) -> tuple[Link, ...]:
        """All links."""
        return tuple(one for client in self._clients.values() for one in client.list_links())

    def find_links(self, name: str) -> tuple[Link, ...]:
        """The links of that name, one of a namespace at most."""
        found = (client.find_link(name) for client in self._clients.values())
        return tuple(one for one in found if one is not None)

    def list_addresses(self) -> tuple[Address, ...]:
        """All addresses."""
        return tuple(one for client in self._clients.values() for one in client.list_addresses())

    def list_routes(self, *, protocol: int | None = None) -> tuple[Route, ...]:
        """Unicast and unreachable routes, of one ``rtm_protocol`` if given."""
        return tuple(
            one
            for client in self._clients.values()
            for one in client.list_routes(protocol=protocol)
        )

    # --- each where it says; all raise BatchRefusedError

    def add_addresses(self, addresses: Sequence[Address]) -> None:
        """RTM_NEWADDR."""
        self.each(addresses, RouteClient.add_addresses)

    def delete_addresses(self, addresses: Sequence[Address]) -> None:
        """RTM_DELADDR."""
        self.each(addresses, RouteClient.delete_addresses)

    def add_routes(self, routes: Sequence[Route]) -> None:
        """RTM_NEWROUTE."""
        self.each(routes, RouteClient.add_routes)

    def replace_routes(self, routes: Sequence[Route]) -> None:
        """RTM_NEWROUTE in the place of what is there."""
        self.each(routes, RouteClient.replace_routes)

    def delete_routes(self, routes: Sequence[Route]) -> None:
        """RTM_DELROUTE."""
        self.each(routes, RouteClient.delete_routes)

    def each(
        self,
        subjects: Sequence[_Subject],
        act: Callable[[RouteClient, list[_Subject]], None],
    ) -> None:
        """Do something to many, by namespace. Raises BatchRefusedError with places in the whole."""
        refused: dict[int, KernelError] = {}
        for namespace, places in _by_namespace(subjects):
            try:
                act(self[namespace], [subjects[place] for place in places])
            except BatchRefusedError as error:
                refused |= {places[place]: why for place, why in error.refused.items()}
        if refused:
            raise BatchRefusedError(refused)


def delete_interfaces(client: RouteClient, interfaces: Sequence[Interface]) -> None:
    """RTM_DELLINK; those that are not there are no error. For ``RouteClients.each``."""
    client.delete_links([one.name for one in interfaces])


def _by_namespace(subjects: Sequence[_Placed]) -> Iterator[tuple[Namespace, list[int]]]:
    def key(place: int) -> str:
        return subjects[place].namespace or ""

    for _name, places in groupby(sorted(range(len(subjects)), key=key), key):
        several = list(places)
        yield subjects[several[0]].namespace, several
