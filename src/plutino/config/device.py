"""``[devices.NAME]``: settings of the kernel for one device, ours or another."""

from typing import Annotated, Literal

from pydantic import Field

from plutino.config.table import Table


class DeviceSettings(Table):
    """Settings of one device, put back by `plutino down`; what is not given is left alone."""

    rp_filter: Annotated[
        Literal["off", "strict", "loose"] | None,
        Field(
            description="Reverse path filter of IPv4. A strict one drops what a peer sends by a "
            "device that the route to it does not leave by, as with several uplinks; the higher of "
            "this and `net.ipv4.conf.all.rp_filter` counts.",
        ),
    ] = None
    src_valid_mark: Annotated[
        bool | None,
        Field(description="Whether the reverse path filter takes the packet's mark into account."),
    ] = None
    accept_local: Annotated[
        bool | None,
        Field(description="Whether packets from addresses of this host itself are taken."),
    ] = None
    forwarding: Annotated[
        bool | None,
        Field(description="Whether packets that come in here are forwarded, IPv4 and IPv6."),
    ] = None
    disable_policy: Annotated[
        bool | None,
        Field(
            description="Whether what comes in here passes the SPD unchecked, IPv4 and IPv6: "
            "never needed for plutino's own interfaces."
        ),
    ] = None
