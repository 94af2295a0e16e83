"""Changes of links, addresses, routes, rules and settings of devices, told as they happen."""

import os

from plutino.model.link import Namespace
from plutino.netlink.namespaces import in_namespace, open_namespace
from plutino.netlink.route.constants import RouteGroup
from plutino.netlink.socket import NETLINK_ROUTE, NetlinkSocket


def route_event_socket(namespace: Namespace = None) -> NetlinkSocket:
    """A socket that tells of changes of links, addresses and routes in a network namespace.

    Raises NamespaceMissingError if there is none of that name.
    """
    groups = sum(1 << (group - 1) for group in RouteGroup)
    if namespace is None:
        return NetlinkSocket.kernel(NETLINK_ROUTE, groups=groups)
    descriptor = open_namespace(namespace)
    try:
        return in_namespace(descriptor, lambda: NetlinkSocket.kernel(NETLINK_ROUTE, groups=groups))
    finally:
        os.close(descriptor)
