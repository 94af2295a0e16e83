"""The workbench of all attempts: sockets in a scratch namespace, and SAs that nobody uses."""

import errno
from ipaddress import ip_address, ip_network
from types import TracebackType
from typing import Any, Final, Self

from plutino.dataplane.journal import Journals
from plutino.dataplane.kernel import KernelPlane
from plutino.model.algorithms import DEFAULT_ALGORITHM, ESP_SUITES, EspSuite
from plutino.model.errors import KernelError
from plutino.model.feature import Feature
from plutino.model.numbers import IfId, Mark, ReqId, Spi
from plutino.model.policy import IpAddress, Mode, Selector
from plutino.model.sa import ReplayState, SaDirection, SecurityAssociation
from plutino.model.secret import Secret
from plutino.netlink.route_client import RouteClient
from plutino.netlink.route_clients import RouteClients
from plutino.netlink.socket import NETLINK_ROUTE, NETLINK_XFRM, NetlinkSocket

ENDS: Final = {
    4: (ip_address("192.0.2.1"), ip_address("192.0.2.2")),
    6: (ip_address("2001:db8::1"), ip_address("2001:db8::2")),
}
INNER: Final = Selector(ip_network("10.255.0.1/32"), ip_network("10.255.0.2/32"))
IF_ID: Final = IfId(1)
REQID: Final = ReqId(1)
FULL_MARK: Final = Mark(0x10)
MASKED_MARK: Final = Mark(0x10, 0xF0)
WINDOW: Final = 64


class Bench:
    """What attempts in one namespace share; they do not disturb each other.

    ``wanted`` is what shall be tried, ``found`` what is supported so far. ``suite`` is one that the
    kernel has, once ESP was tried; ``offload_tells_why`` that refusals of offload come with words.
    """

    def __init__(self, wanted: frozenset[Feature]) -> None:
        self.wanted = wanted
        self.route_socket = NetlinkSocket.kernel(NETLINK_ROUTE)
        self.routes = RouteClient(self.route_socket)
        self._all_routes = RouteClients()
        self.suite: EspSuite = ESP_SUITES[DEFAULT_ALGORITHM]
        self.refused_suites: dict[str, KernelError] | None = None
        self.offload_tells_why = False
        self.found: set[Feature] = set()
        self._xfrm: NetlinkSocket | None = None
        self._next_spi = 0x1000

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: object, trace: TracebackType | None
    ) -> None:
        self.routes.close()
        self._all_routes.close()
        if self._xfrm is not None:
            self._xfrm.close()

    @property
    def xfrm(self) -> NetlinkSocket:
        """The socket to XFRM. Raises PlaneError if the kernel was built without it."""
        if self._xfrm is None:
            self._xfrm = NetlinkSocket.kernel(NETLINK_XFRM)
        return self._xfrm

    @property
    def plane(self) -> KernelPlane:
        """The kernel as plutino uses it: what older kernels want otherwise, they get."""
        journals = Journals.in_memory()
        return KernelPlane("probe", self.xfrm, self._all_routes, journals, reqids=[REQID])

    def sa(self, version: int, direction: SaDirection, **changes: Any) -> SecurityAssociation:
        """An SA as plutino installs them, without ESN and marks, and with an SPI of its own."""
        ends: tuple[IpAddress, IpAddress] = ENDS[version]
        source, destination = ends if direction is SaDirection.OUT else reversed(ends)
        self._next_spi += 1
        suite: EspSuite = changes.pop("suite", self.suite)
        values: dict[str, Any] = {
            "mode": Mode.TUNNEL,
            "esn": False,
            "replay": ReplayState(window=0 if direction is SaDirection.OUT else WINDOW),
        }
        return SecurityAssociation(
            spi=Spi(self._next_spi),
            source=source,
            destination=destination,
            reqid=REQID,
            if_id=IF_ID,
            keys=suite.keys(Secret(bytes(range(suite.keymat_size)))),
            direction=direction,
            **values | changes,
        )

    def add(self, *sas: SecurityAssociation) -> None:
        """Add SAs as the plane does, and look whether they are what they should be."""
        plane = self.plane
        plane.add_sas(sas)
        found = {sa.identity: sa for sa, _ in plane.list_sas()}
        plane.delete_sas(sas)
        for sa in sas:
            if found.get(sa.identity) != sa:
                raise refused("read the SA back", "the kernel made another SA of it")


def refused(step: str, why: str) -> KernelError:
    """The kernel took a request and made something else of it."""
    return KernelError(step, errno.EOPNOTSUPP, why)
