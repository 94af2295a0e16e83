"""Attempts with links and routes."""

from collections.abc import Callable, Mapping
from ipaddress import ip_network
from types import MappingProxyType
from typing import Final

from plutino.dataplane.probe.bench import ENDS, IF_ID, Bench, refused
from plutino.model.feature import Feature
from plutino.model.interface import Interface, VtiEnds
from plutino.model.link import Route
from plutino.model.numbers import IfId
from plutino.netlink.route.constants import IFLA_VRF_TABLE, Ifla, IflaInfo, RouteMessage
from plutino.netlink.route.fields import nested_attribute, text_attribute, u32_attribute
from plutino.netlink.route.links import KIND_VRF, KINDS_VTI, encode_link_header
from plutino.netlink.wire import NLM_F_CREATE, NLM_F_EXCL, encode_attributes

_MTU: Final = 1400
_EXTERNAL: Final = "probe-ext"
_TABLE: Final = 1000


def _try_xfrm_link(bench: Bench) -> None:
    bench.routes.create_interfaces([Interface("probe-xfrm", IF_ID, _MTU)])
    link = bench.routes.find_link("probe-xfrm")
    if link is None or link.if_id != IF_ID:
        raise refused("read the link back", "the link has no if_id")


def _try_external_link(bench: Bench) -> None:
    bench.routes.create_interfaces([Interface(_EXTERNAL, IfId(0), _MTU, external=True)])
    link = bench.routes.find_link(_EXTERNAL)
    if link is None or not link.external:
        raise refused("read the link back", "the kernel made another link of it")


def _try_encap_route(bench: Bench) -> None:
    bench.routes.set_link(_EXTERNAL, up=True)
    for network in ("198.51.100.0/24", "2001:db8:1::/48"):
        route = Route(ip_network(network), _EXTERNAL, metric=50, if_id=IF_ID)
        bench.routes.add_route(route)
        if route not in bench.routes.list_routes():
            raise refused("read the route back", "the kernel made another route of it")


def _try_vti(bench: Bench, version: int) -> None:
    local, remote = ENDS[version]
    name = f"probe-vti{version}"
    bench.routes.create_interfaces(
        [Interface(name, IfId(0), _MTU, vti=VtiEnds(local, remote, 1, 1))]
    )
    link = bench.routes.find_link(name)
    if link is None or link.kind not in KINDS_VTI:
        raise refused("read the link back", "the kernel made another link of it")


def _try_vrf(bench: Bench) -> None:
    kind = text_attribute(IflaInfo.KIND, KIND_VRF)
    data = nested_attribute(IflaInfo.DATA, u32_attribute(IFLA_VRF_TABLE, _TABLE))
    attributes = [
        text_attribute(Ifla.IFNAME, "probe-vrf"),
        nested_attribute(Ifla.LINKINFO, kind, data),
    ]
    payload = encode_link_header() + encode_attributes(attributes)
    flags = NLM_F_CREATE | NLM_F_EXCL
    bench.route_socket.request("create a VRF", RouteMessage.NEWLINK, payload, flags=flags)


LINK_ATTEMPTS: Final[Mapping[Feature, Callable[[Bench], None]]] = MappingProxyType(
    {
        Feature.XFRM_LINK: _try_xfrm_link,
        Feature.EXTERNAL_LINK: _try_external_link,
        Feature.ENCAP_ROUTE: _try_encap_route,
        Feature.VTI_V4: lambda bench: _try_vti(bench, 4),
        Feature.VTI_V6: lambda bench: _try_vti(bench, 6),
        Feature.VRF: _try_vrf,
    }
)
