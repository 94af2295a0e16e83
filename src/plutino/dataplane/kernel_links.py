"""Links of the kernel that look up SAs by themselves: XFRM interfaces and VTIs.

A link bears our tag once it is complete. Until then a journal has it, so that one which was made by
a process that died is not taken for another's.
"""

import errno
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from plutino.dataplane.journal import Journal
from plutino.dataplane.kernel_hints import link_hint, with_hint
from plutino.dataplane.link_settings import forgo_routers, settle_link
from plutino.dataplane.own_links import OwnLinks
from plutino.dataplane.plane import tag_links
from plutino.model.errors import BatchRefusedError, KernelError, PlaneError
from plutino.model.interface import Interface
from plutino.model.link import Link, link_alias
from plutino.netlink.route.links import KIND_XFRM, KINDS_VTI
from plutino.netlink.route_client import RouteClient
from plutino.netlink.route_clients import RouteClients, delete_interfaces


class KernelLinks:
    """Those of one instance, in whatever namespace; ``journal`` has those that are not complete."""

    def __init__(self, instance: str, routes: RouteClients, journal: Journal) -> None:
        self._alias = link_alias(instance)
        self._routes = routes
        self._journal = journal

    def own(self) -> OwnLinks:
        """What tells which SAs and policies are looked up for them."""
        return OwnLinks.among(self.bind(self._routes.list_links()), self._alias)

    def bind(self, links: tuple[Link, ...]) -> tuple[Link, ...]:
        """The links; rtnetlink tells the if_id of XFRM interfaces itself.

        One that we made and had no time to tag is ours, and not attached yet.
        """
        return tuple(
            replace(link, alias=self._alias)
            if link.alias is None and _link_word(link) in self._journal.words
            else replace(link, attached=link.kind in (KIND_XFRM, *KINDS_VTI))
            for link in links
        )

    def create(self, interfaces: Sequence[Interface]) -> None:
        """RTM_NEWLINK of kind ``xfrm`` or ``vti``; EEXIST if a name or an if_id is taken."""
        # A link gets its tag after it was made, by another request.
        words = [_word(one.name, one.if_id) for one in interfaces]
        self._journal.note(words)
        refused: Mapping[int, KernelError] = {}
        try:
            self._routes.home.create_interfaces(interfaces)
        except BatchRefusedError as error:
            refused = {
                place: with_hint(why, link_hint(interfaces[place], why))
                for place, why in error.refused.items()
            }
        made = [one for place, one in enumerate(interfaces) if place not in refused]
        self._complete(made)
        self._journal.forget(words)
        if refused:
            raise BatchRefusedError(refused)

    def _complete(self, interfaces: Sequence[Interface]) -> None:
        """Put new links where they belong, and make them ours, or take them away again."""
        try:
            for one in interfaces:
                if one.namespace is not None:
                    target = self._routes.descriptor(one.namespace)
                    self._routes.home.set_link(one.name, namespace=target)
                if one.vrf is not None:
                    self._routes[one.namespace].set_link(one.name, master=one.vrf)
            forgo_routers(self._routes, interfaces)
            self._routes.each(interfaces, self._tag)
        except (KernelError, PlaneError):
            for namespace in {None, *(one.namespace for one in interfaces)}:
                with suppress(KernelError, PlaneError):
                    delete_interfaces(self._routes[namespace], interfaces)
            raise

    def _tag(self, client: RouteClient, interfaces: Sequence[Interface]) -> None:
        tag_links(client, [one.name for one in interfaces], self._alias)

    def attach(self, interface: Interface) -> None:
        """Another MTU, VRF, if_id, key or end for a link of ours; what else differs is new."""
        link = self._find_own(interface.name)
        step = f"serve link {interface.name}"
        if link is None:
            raise KernelError(step, errno.ENODEV, f"no link {interface.name} of ours")
        here = self._routes[link.namespace]
        word = _link_word(link)
        if word in self._journal.words:
            here.delete_link(link.name)  # it was never completed
            self._journal.forget([word])
            self.create([interface])
            return
        if self._is_another(link, interface):
            here.delete_link(link.name)
            self.create([interface])
            return
        if link.namespace != interface.namespace:
            here.set_link(link.name, namespace=self._routes.descriptor(interface.namespace))
            here = self._routes[interface.namespace]
            forgo_routers(self._routes, [interface])
            self._tag(here, [interface])
        settle_link(here, link, interface)
        try:
            if interface.vti is None and (link.if_id or 0) != interface.if_id:
                here.set_xfrm_if_id(link, interface.if_id)
            elif interface.vti is not None and link.vti != interface.vti:
                here.set_vti_ends(link, interface.vti, interface.mtu)
        except KernelError as error:
            raise with_hint(error, link_hint(interface, error)) from error

    def _find_own(self, name: str) -> Link | None:
        """Our link of that name, in whatever namespace."""
        found = self.bind(self._routes.find_links(name))
        return next((one for one in found if one.alias == self._alias), None)

    def _is_another(self, link: Link, interface: Interface) -> bool:
        """Whether the kernel cannot make the one of the other."""
        if interface.vti is not None:
            return link.vti is None or link.vti.family != interface.vti.family
        underlying = None
        if interface.link is not None:
            found = self._routes.home.find_link(interface.link)
            underlying = None if found is None else found.index
        return (
            link.kind != KIND_XFRM
            or link.external != interface.external
            or link.underlying != underlying
        )

    def delete(self, interfaces: Sequence[Interface]) -> None:
        """RTM_DELLINK."""
        self._routes.each(interfaces, delete_interfaces)


def _word(name: str, if_id: int) -> str:
    """A link in the journal."""
    return f"{name} {int(if_id)}"


def _link_word(link: Link) -> str:
    return _word(link.name, link.if_id or 0)
