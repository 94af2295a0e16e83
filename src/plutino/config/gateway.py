"""The configuration of one gateway: every option described once.

The descriptions here make the reference page, the JSON Schema and the words of errors. The text of
a file becomes these values in ``load``; nothing here opens a file.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from plutino.config.values import IpAddress, IpInterface, IpNetwork, PacketMark
from plutino.model.interface import DEFAULT_MARK_MASK
from plutino.model.numbers import U32_MAX

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


class InterfaceOptions(_Table):
    """What is special about one interface; an interface without a table of its own needs none."""

    kind: Annotated[
        Literal["xfrm", "vti"],
        Field(
            description="`xfrm`, or `vti` for peers in a migration and for kernels without XFRM "
            "interfaces: keys instead of an if_id, one outer IP version, tunnel mode, the kernel "
            "as data plane."
        ),
    ] = "xfrm"
    external: Annotated[
        bool,
        Field(
            strict=True,
            description="One interface for many tunnels, each with an if_id of its own that its "
            "routes carry (`encap xfrm if_id`); one such interface at most.",
        ),
    ] = False
    link: Annotated[
        str | None,
        Field(
            description="The underlying device of an XFRM interface (IFLA_XFRM_LINK): it chooses "
            "the VRF of the outer packets, not their way. Kernel plane only.",
            examples=["eth0"],
        ),
    ] = None
    vrf: Annotated[
        str | None,
        Field(
            description="The VRF device, which is there already, that the interface belongs to; "
            "routes go into its table.",
            examples=["red"],
        ),
    ] = None
    namespace: Annotated[
        str | None,
        Field(
            min_length=1,
            description="The network namespace that the interface is moved to, with its addresses "
            "and routes: a name of `ip netns`, or a path such as `/proc/4711/ns/net`. Keys and "
            "outer packets stay where plutino runs.",
            examples=["red"],
        ),
    ] = None
    key: Annotated[
        int | None,
        Field(
            strict=True,
            ge=1,
            le=U32_MAX,
            description="Key of a VTI in both directions, which is also the mark of its SAs and "
            "policies; what would be the if_id if not given.",
        ),
    ] = None
    input_key: Annotated[
        int | None,
        Field(strict=True, ge=1, le=U32_MAX, description="Key of a VTI for what comes in."),
    ] = None
    output_key: Annotated[
        int | None,
        Field(strict=True, ge=1, le=U32_MAX, description="Key of a VTI for what goes out."),
    ] = None


class OffloadOptions(_Table):
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


class PolicyDefault(_Table):
    """What happens to packets of the whole network namespace that fit no policy."""

    input: Annotated[
        Literal["accept", "block"] | None, Field(description="Packets for this host.")
    ] = None
    forward: Annotated[
        Literal["accept", "block"] | None, Field(description="Forwarded packets.")
    ] = None
    output: Annotated[
        Literal["accept", "block"] | None,
        Field(
            description="Packets that leave; `block` stops all traffic of this host and of those "
            "behind it that no policy allows, but for `lo`."
        ),
    ] = None


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
    mode: Annotated[
        Literal["tunnel", "transport", "beet"],
        Field(
            description="`tunnel` wraps whole packets; `beet` sends fixed inner addresses, one "
            "of `local-ts` and one of `remote-ts`, without an inner header; `transport` protects "
            "what is sent between `local` and `remote` themselves, which the kernel's XFRM "
            "interfaces cannot (the engine can)."
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
    table: Annotated[
        int | None,
        Field(
            strict=True,
            ge=1,
            le=U32_MAX,
            description="The routing table for routes that cover a peer's own address, such as "
            "`0.0.0.0/0`: a rule leads there what bears none of plutino's marks. A number of its "
            "own for each instance if not given.",
        ),
    ] = None
    mark_mask: Annotated[
        int,
        Field(
            strict=True,
            description="The bits of the packet mark that plutino may use for output marks; one "
            "run of bits that has room for every if_id. Packets that others mark with none of "
            "them go into tunnels as those without a mark.",
        ),
    ] = DEFAULT_MARK_MASK
    policy_default: Annotated[
        PolicyDefault | None,
        Field(
            description="What happens to packets that fit no policy; left alone if not given, and "
            "put back by `plutino down`."
        ),
    ] = None
    interfaces: Annotated[
        dict[str, InterfaceOptions],
        Field(description="Options of interfaces by name, `[interfaces.NAME]`."),
    ] = {}
    tunnels: Annotated[
        dict[str, Tunnel],
        Field(description="The tunnels by name, `[tunnels.NAME]`."),
    ] = {}

    def options(self, interface: str) -> InterfaceOptions:
        """The options of an interface, with or without a table of its own."""
        return self.interfaces.get(interface, _NO_OPTIONS)


_NO_OPTIONS = InterfaceOptions()
