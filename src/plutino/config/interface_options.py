"""``[interfaces.NAME]``: what is special about one interface."""

from ipaddress import IPv6Address
from typing import Annotated, Literal

from pydantic import Field

from plutino.config.table import Table
from plutino.model.numbers import U32_MAX


class InterfaceOptions(Table):
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
    link_local: Annotated[
        bool | IPv6Address,
        Field(
            description="A link-local address, by which OSPFv3, RIPng and Babel talk: `true` for a "
            "stable one of plutino's, where the tunnel carries it; `false` for none; or one of "
            "your own.",
            examples=["fe80::1"],
        ),
    ] = True
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
