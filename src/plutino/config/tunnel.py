"""``[tunnels.NAME]``: one tunnel to one peer, and how it gets its keys."""

from functools import cached_property
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Annotated, Final, Literal, Self

from pydantic import Field

from plutino.config.ike import IkeKeying
from plutino.config.selectors import TrafficSelector
from plutino.config.table import Table
from plutino.config.values import ANY, IpAddress, IpInterface, IpNetwork, PacketMark, Remote

NO_ADDRESS: Final = IPv4Address(0)
"""Stands for an address that follows from something else."""


class StaticKeying(Table):
    """Keys that both ends hold in a file, made by `plutino keygen`."""

    key_file: Annotated[
        str,
        Field(
            description="File with the SPIs, the algorithm and the keys of both directions, made "
            "by `plutino keygen`; relative to this file. Only its owner may be able to read it.",
            examples=["berlin.keys"],
        ),
    ]


class OffloadOptions(Table):
    """Cryptography by the network device."""

    device: Annotated[
        str, Field(description="The device that outer packets pass.", examples=["eth0"])
    ]
    mode: Annotated[
        Literal["crypto", "packet"],
        Field(
            description="`crypto` lets the device encrypt and authenticate, `packet` does all of "
            "ESP there."
        ),
    ] = "crypto"
    directions: Annotated[
        Literal["out", "both"],
        Field(
            description="Newer kernels refuse offload of inbound SAs that have an if_id, so `out` "
            "is what works with an XFRM interface."
        ),
    ] = "out"


class Standby(Table):
    """A second pair of SAs of a tunnel, on another path, with keys of its own."""

    uplink: Annotated[str | None, Field(description="The uplink that it uses.")] = None
    local: Annotated[
        IpAddress | None, Field(description="Our outer address, if not that of the tunnel.")
    ] = None
    remote: Annotated[
        IpAddress | None, Field(description="The peer's outer address, if not the tunnel's.")
    ] = None
    key_file: Annotated[
        str,
        Field(
            description="File with its keys, made by `plutino keygen`; never that of the tunnel.",
            examples=["berlin-isp2.keys"],
        ),
    ]


class Tunnel(Table):
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
    local: Annotated[
        IpAddress,
        Field(
            description="Our outer address; that of the uplink where there are `uplinks`.",
            examples=["192.0.2.1"],
        ),
    ] = NO_ADDRESS
    remote_as_written: Annotated[
        Remote,
        Field(
            alias="remote",
            description="The peer's outer address; or, with `ike`, a host name that is resolved "
            "again and again, or `any` for a peer that comes from anywhere and is known by "
            "`remote-id` alone.",
            examples=["198.51.100.2"],
        ),
    ]
    uplinks: Annotated[
        tuple[str, ...],
        Field(
            description="The uplinks that may carry the tunnel, by name, the best first.",
            examples=[["isp1", "isp2"]],
        ),
    ] = ()
    remotes: Annotated[
        tuple[IpAddress, ...],
        Field(
            description="Further outer addresses of the peer, the best first: where `remote` "
            "cannot be reached any more, the SAs move to the next."
        ),
    ] = ()
    standby: Annotated[
        tuple[Standby, ...],
        Field(
            description="SAs that stand ready on other paths, `[[tunnels.NAME.standby]]`: the "
            "tunnel changes to one by a single policy. The peer has the same, mirrored."
        ),
    ] = ()
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
        tuple[TrafficSelector, ...],
        Field(
            description="Traffic selectors on our side; everything if not given. Each is a "
            "network, and in brackets behind it a protocol and ports if it is not for all: "
            "`[tcp]`, `[tcp/443]`, `[udp/5000-5099]`, `[47]`. With `icmp` and `ipv6-icmp` the "
            "number is the type of what this side sends. Fragments have no ports.",
            examples=[["10.1.0.0/16", "10.9.0.1/32[tcp/443]"]],
        ),
    ] = ()
    remote_ts: Annotated[
        tuple[TrafficSelector, ...],
        Field(
            description="Traffic selectors on the peer's side, in the same form; everything if not "
            "given. Needed where several tunnels share an interface.",
            examples=[["10.2.0.0/16[tcp]"]],
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
    mode: Annotated[
        Literal["tunnel", "transport", "beet"],
        Field(
            description="`tunnel` wraps whole packets; `beet` sends fixed inner addresses, one "
            "of `local-ts` and one of `remote-ts`, without an inner header; `transport` protects "
            "what is sent between `local` and `remote` themselves, which the kernel's XFRM "
            "interfaces cannot (the engine can); its selectors hold those two addresses."
        ),
    ] = "tunnel"
    mark_in: Annotated[
        PacketMark | None,
        Field(
            description="XFRMA_MARK of inbound SAs and policies: a lookup key besides the if_id.",
            examples=["0x10/0xff"],
        ),
    ] = None
    mark_out: Annotated[
        PacketMark | None,
        Field(
            description="XFRMA_MARK of outbound SAs and policies: only packets with that mark use "
            "the tunnel. Kernel plane only.",
            examples=["0x10/0xff"],
        ),
    ] = None
    set_mark_in: Annotated[
        PacketMark | None,
        Field(
            description="XFRMA_SET_MARK of inbound SAs: the mark of decrypted packets. Kernel "
            "plane only."
        ),
    ] = None
    set_mark_out: Annotated[
        PacketMark | None,
        Field(
            description="XFRMA_SET_MARK of outbound SAs: the mark that outer packets are routed "
            "by; follows from the if_id under `mark-mask` if not given."
        ),
    ] = None
    nat_keepalive: Annotated[
        int,
        Field(
            strict=True,
            ge=0,
            le=3600,
            description="Seconds without a packet after which a keepalive is sent to a peer behind "
            'NAT; 0 for none. Needs `encapsulation = "udp"`.',
        ),
    ] = 0
    offload: Annotated[
        OffloadOptions | None,
        Field(description="Cryptography by the network device. Kernel plane only."),
    ] = None
    replay_window: Annotated[
        int,
        Field(
            strict=True,
            ge=1,
            le=4096,
            description="Replay window in packets. With extended sequence numbers, which every "
            "tunnel has, there is always one.",
        ),
    ] = 1024
    static: Annotated[
        StaticKeying | None, Field(description="Static keys, or `ike` instead of them.")
    ] = None
    ike: Annotated[IkeKeying | None, Field(description="Keys by IKEv2, instead of `static`.")] = (
        None
    )

    @cached_property
    def remote(self) -> IpAddress:
        """The peer's outer address; the unspecified one of our family while it is not known."""
        try:
            return ip_address(self.remote_as_written)
        except ValueError:
            return IPv6Address(0) if self.local.version == 6 else NO_ADDRESS

    @cached_property
    def is_roaming(self) -> bool:
        """Whether the file does not say the peer's address: who it is decides, not where."""
        try:
            ip_address(self.remote_as_written)
        except ValueError:
            return True
        return False

    @property
    def remote_name(self) -> str | None:
        """The host name by which the peer's address is found; None if there is none."""
        return self.remote_as_written if self.is_roaming and self.remote_as_written != ANY else None

    @property
    def outer_version(self) -> int | None:
        """The IP version outside; None while only the address of a name will tell."""
        return None if self.uplinks and self.is_roaming else self.remote.version

    @property
    def name_question(self) -> tuple[str, int | None] | None:
        """The host name, and the IP version that its address must have, None for either."""
        return None if self.remote_name is None else (self.remote_name, self.outer_version)

    def at(self, remote: IpAddress) -> Self:
        """This tunnel with its peer at an address."""
        return self.model_copy(update={"remote": remote})

    @property
    def peers(self) -> tuple[IpAddress, ...]:
        """Every outer address that the peer may have, the best first."""
        others = (one.remote for one in self.standby if one.remote is not None)
        return tuple(dict.fromkeys((self.remote, *self.remotes, *others)))
