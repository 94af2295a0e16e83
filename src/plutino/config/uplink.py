"""``[uplinks.NAME]``: one of several ways out of the host, and how its health is measured."""

from typing import Annotated, Literal

from pydantic import Field

from plutino.config.table import Table
from plutino.config.values import IpAddresses
from plutino.model.numbers import U32_MAX


class ProbeOptions(Table):
    """How it is found out whether a way carries packets."""

    kind: Annotated[
        Literal["icmp", "none"],
        Field(description="`icmp` sends echo requests; `none` trusts link, address and route."),
    ] = "icmp"
    targets: Annotated[
        IpAddresses,
        Field(
            description="Who is asked; one answer of any is enough. The peers of the tunnels that "
            "may use the way if not given.",
            examples=[["192.0.2.254"]],
        ),
    ] = ()
    interval: Annotated[
        float, Field(ge=0.05, le=60, description="Seconds from one request to the next.")
    ] = 0.1
    lost_after: Annotated[
        int,
        Field(
            strict=True,
            ge=1,
            le=100,
            description="The way is lost when there was no answer for so many intervals. A target "
            "that never answered since plutino watches it tells nothing.",
        ),
    ] = 5
    back_after: Annotated[
        float,
        Field(
            ge=0,
            le=3600,
            description="Seconds without such a silence before a lost way is used again; "
            "doubled with each loss that follows soon, up to a minute.",
        ),
    ] = 2.0


class Uplink(Table):
    """One way out of the host, such as a provider's line."""

    interface: Annotated[str, Field(description="The device that leads there.", examples=["eth1"])]
    gateway: Annotated[
        IpAddresses,
        Field(
            description="The next hop, one for each IP version; that of main's default route "
            "through the device if not given, and none on a point-to-point device.",
            examples=[["192.0.2.254", "2001:db8::fe"]],
        ),
    ] = ()
    source: Annotated[
        IpAddresses,
        Field(
            description="Our address there, one for each IP version; the device's first global "
            "address if not given.",
            examples=[["192.0.2.1"]],
        ),
    ] = ()
    priority: Annotated[
        int,
        Field(
            strict=True,
            ge=0,
            le=1000,
            description="The usable uplink of the lowest number carries a tunnel; among equals "
            "the order of the tunnel's `uplinks` decides.",
        ),
    ] = 0
    table: Annotated[
        int | None,
        Field(
            strict=True,
            ge=1,
            le=U32_MAX,
            description="The routing table of this uplink, which marks lead to. A number of its "
            "own if not given.",
        ),
    ] = None
    probe: Annotated[
        ProbeOptions, Field(description="How it is found out whether it carries packets.")
    ] = ProbeOptions()
