"""What plutino changes of a machine besides the data plane: rtnetlink, and its nftables table."""

from dataclasses import dataclass

from plutino.dataplane.sysctls import SysctlClient
from plutino.netfilter.client import NetfilterClient
from plutino.netlink.route_clients import RouteClients


@dataclass(frozen=True, slots=True)
class System:
    """The ways to observe and to act."""

    routes: RouteClients
    netfilter: NetfilterClient
    sysctls: SysctlClient
