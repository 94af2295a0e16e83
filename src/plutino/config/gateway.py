"""The configuration of one gateway: every option described once.

The descriptions here make the reference page, the JSON Schema and the words of errors. The text of
a file becomes these values in ``load``; nothing here opens a file.
"""

from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

IpAddress = IPv4Address | IPv6Address
IpInterface = IPv4Interface | IPv6Interface
IpNetwork = IPv4Network | IPv6Network


def _kebab(name: str) -> str:
    return name.replace("_", "-")


class _Table(BaseModel):
    """A TOML table: unknown keys are errors, keys are written with hyphens."""

    model_config = ConfigDict(
        alias_generator=_kebab, extra="forbid", frozen=True, populate_by_name=True
    )


class StaticKeying(_Table):
    """Keys that both ends hold in a file, made by `plutino keygen`."""

    key_file: Annotated[
        str,
        Field(
            description="File with the SPIs, the algorithm and the keys of both directions, made "
            "by `plutino keygen`; relative to this file. Only its owner may be able to read it.",
            examples=["berlin.keys"],
        ),
    ]


class Tunnel(_Table):
    """One tunnel to one peer."""

    interface: Annotated[
        str,
        Field(
            description="The interface to route into. `ipsecN` has if_id N, `ipsec0` has 16384; "
            "another name needs `if-id` or gets one from a stable range. Tunnels may share one "
            "interface if their `remote-ts` do not overlap.",
            examples=["ipsec1"],
        ),
    ]
    if_id: Annotated[
        int | None,
        Field(
            description="XFRM interface id of the interface, 1 to 4294967295, if it shall not "
            "follow from the name.",
        ),
    ] = None
    local: Annotated[IpAddress, Field(description="Our outer address.", examples=["192.0.2.1"])]
    remote: Annotated[
        IpAddress, Field(description="The peer's outer address.", examples=["198.51.100.2"])
    ]
    addresses: Annotated[
        tuple[IpInterface, ...],
        Field(
            description="Addresses of the interface, with prefix length.",
            examples=[["10.255.0.0/31", "fd00:1::/127"]],
        ),
    ] = ()
    routes: Annotated[
        tuple[IpNetwork, ...],
        Field(
            description="Networks behind the peer: each becomes a route to the interface, and an "
            "unreachable route of higher metric that holds when the interface is gone.",
            examples=[["10.2.0.0/16", "2001:db8:2::/48"]],
        ),
    ] = ()
    local_ts: Annotated[
        tuple[IpNetwork, ...],
        Field(description="Traffic selectors on our side; everything if not given."),
    ] = ()
    remote_ts: Annotated[
        tuple[IpNetwork, ...],
        Field(
            description="Traffic selectors on the peer's side; everything if not given. Needed "
            "where several tunnels share an interface."
        ),
    ] = ()
    mtu: Annotated[
        int | None,
        Field(
            ge=1280,
            le=65535,
            description="MTU of the interface in bytes; computed from path, cipher and "
            "encapsulation if not given.",
        ),
    ] = None
    encapsulation: Annotated[
        Literal["esp", "udp"],
        Field(
            description="`udp` sends ESP in UDP port 4500, which passes NAT and is faster between "
            "two user-space gateways; `esp` sends IP protocol 50."
        ),
    ] = "esp"
    replay_window: Annotated[
        int,
        Field(ge=0, le=4096, description="Replay window in packets; 0 turns the check off."),
    ] = 1024
    static: Annotated[StaticKeying, Field(description="Static keys.")]


class Gateway(_Table):
    """A whole gateway file."""

    data_plane: Annotated[
        Literal["auto", "kernel", "userspace"],
        Field(
            description="Who transforms the packets: the Linux kernel, or the engine in user space."
        ),
    ] = "auto"
    instance: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,31}$",
            description="Name under which this gateway tags its links, routes, SAs and policies; "
            "several gateways on one machine need different names.",
        ),
    ] = "default"
    mark_mask: Annotated[
        int,
        Field(
            description="The bits of the packet mark that plutino may use for output marks; one "
            "run of bits that has room for every if_id.",
        ),
    ] = 0xFFFFFFFF
    tunnels: Annotated[
        dict[str, Tunnel],
        Field(description="The tunnels by name, `[tunnels.NAME]`."),
    ] = {}
