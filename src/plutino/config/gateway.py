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
    ip_address,
    ip_interface,
    ip_network,
)
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError


def _refusal(why: str, hint: str | None = None) -> PydanticCustomError:
    """A finding with words of our own, which ``load`` passes on."""
    return PydanticCustomError("plutino", "{why}", {"why": why, "hint": hint})


def _parse_address(value: object) -> IPv4Address | IPv6Address:
    try:
        if isinstance(value, str):
            return ip_address(value)
    except ValueError:
        pass
    raise _refusal(f"must be an IPv4 or IPv6 address in quotes, not {value!r}")


def _parse_interface(value: object) -> IPv4Interface | IPv6Interface:
    try:
        if isinstance(value, str) and "/" in value:
            return ip_interface(value)
    except ValueError:
        pass
    why = f"must be an address with prefix length in quotes, not {value!r}"
    raise _refusal(why, 'such as "10.255.0.0/31"')


def _parse_network(value: object) -> IPv4Network | IPv6Network:
    try:
        if isinstance(value, str) and "/" in value:
            network = ip_network(value, strict=False)
        else:
            raise ValueError
    except ValueError:
        why = f"must be a network in quotes, not {value!r}"
        raise _refusal(why, 'such as "10.2.0.0/16"') from None
    if str(network.network_address) != str(ip_interface(value).ip):
        raise _refusal(f"{value} has host bits set", f'the network is "{network}"')
    return network


IpAddress = Annotated[IPv4Address | IPv6Address, BeforeValidator(_parse_address)]
IpInterface = Annotated[IPv4Interface | IPv6Interface, BeforeValidator(_parse_interface)]
IpNetwork = Annotated[IPv4Network | IPv6Network, BeforeValidator(_parse_network)]

DEFAULT_INSTANCE = "default"


def _kebab(name: str) -> str:
    return name.replace("_", "-")


class _Table(BaseModel):
    """A TOML table: unknown keys are errors, keys are written with hyphens."""

    model_config = ConfigDict(alias_generator=_kebab, extra="forbid", frozen=True)


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
            strict=True,
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
            strict=True,
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
        Field(
            strict=True,
            ge=0,
            le=4096,
            description="Replay window in packets; 0 turns the check off.",
        ),
    ] = 1024
    static: Annotated[StaticKeying, Field(description="Static keys.")]


class Gateway(_Table):
    """A whole gateway file."""

    data_plane: Annotated[
        Literal["auto", "kernel", "userspace"],
        Field(
            description="Who transforms the packets: the kernel, or the engine in user space. "
            "`auto` takes the kernel if it can do everything that is needed (`plutino doctor`); "
            "the choice stays until `plutino down`."
        ),
    ] = "auto"
    instance: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,31}$",
            description="Name under which this gateway tags its links, routes, SAs and policies; "
            "several gateways on one machine need different names.",
        ),
    ] = DEFAULT_INSTANCE
    mark_mask: Annotated[
        int,
        Field(
            strict=True,
            description="The bits of the packet mark that plutino may use for output marks; one "
            "run of bits that has room for every if_id.",
        ),
    ] = 0xFFFFFFFF
    tunnels: Annotated[
        dict[str, Tunnel],
        Field(description="The tunnels by name, `[tunnels.NAME]`."),
    ] = {}
