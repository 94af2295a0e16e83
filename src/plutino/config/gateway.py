"""The configuration of one gateway: every option described once.

The descriptions here make the reference page, the JSON Schema and the words of errors. The text of
a file becomes these values in ``load``; nothing here opens a file.
"""

from typing import Annotated, Literal

from pydantic import Field

from plutino.config.device import DeviceSettings
from plutino.config.group import Group
from plutino.config.interface_options import InterfaceOptions
from plutino.config.table import Table
from plutino.config.tunnel import Tunnel
from plutino.config.uplink import Uplink
from plutino.config.values import IpNetwork
from plutino.model.instance import DEFAULT_INSTANCE, INSTANCE_PATTERN
from plutino.model.interface import DEFAULT_MARK_MASK, DEFAULT_UPLINK_MASK
from plutino.model.numbers import U32_MAX


class PolicyDefault(Table):
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


class Gateway(Table):
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
            pattern=INSTANCE_PATTERN,
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
    uplink_mask: Annotated[
        int,
        Field(
            strict=True,
            description="The bits of the packet mark that tell uplinks apart; one run of bits, "
            "none of them in `mark-mask`, with room for the number of every uplink.",
        ),
    ] = DEFAULT_UPLINK_MASK
    nat_exempt: Annotated[
        bool,
        Field(
            strict=True,
            description="Keeps packets into tunnels, and ESP and IKE of plutino's own, from being "
            "translated by `masquerade` or `snat` rules of others, which see to all that leaves.",
        ),
    ] = False
    guard: Annotated[
        Literal["on", "strict"],
        Field(
            description="What keeps packets for tunnels from leaving in clear: `on` by unreachable "
            "routes, `strict` also by nftables, which hold when somebody flushes the routes, and "
            "which take nothing from a tunnel's prefix that comes in by another way."
        ),
    ] = "on"
    protected: Annotated[
        tuple[IpNetwork, ...],
        Field(
            description="Networks that are reached through tunnels alone, by routes that a routing "
            "daemon learns: while there is none, their packets are dropped and do not leave by the "
            "default route.",
            examples=[["10.0.0.0/8"]],
        ),
    ] = ()
    outside: Annotated[
        tuple[IpNetwork, ...],
        Field(
            description="With the strict guard: networks that may be reached outside of tunnels "
            "although a shorter prefix that holds them is in one. Those that this host's own "
            "devices connect to need not be named for `0.0.0.0/0` and `::/0`, and must be for "
            "other prefixes.",
            examples=[["192.168.0.0/16"]],
        ),
    ] = ()
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
    ] = {}  # noqa: RUF012 - pydantic copies it
    devices: Annotated[
        dict[str, DeviceSettings],
        Field(description="The kernel's settings for devices by name, `[devices.NAME]`."),
    ] = {}  # noqa: RUF012 - pydantic copies it
    uplinks: Annotated[
        dict[str, Uplink],
        Field(description="The ways out of this host by name, `[uplinks.NAME]`."),
    ] = {}  # noqa: RUF012 - pydantic copies it
    tunnels: Annotated[
        dict[str, Tunnel],
        Field(description="The tunnels by name, `[tunnels.NAME]`."),
    ] = {}  # noqa: RUF012 - pydantic copies it

    groups: Annotated[
        dict[str, Group],
        Field(description="Several tunnels to one site by name, `[groups.NAME]`."),
    ] = {}  # noqa: RUF012 - pydantic copies it

    def prefixes(self, tunnel: str) -> tuple[IpNetwork, ...]:
        """What is routed into a tunnel: its own routes and those of its group."""
        groups = [one.routes for one in self.groups.values() if tunnel in one.tunnels]
        return (*self.tunnels[tunnel].routes, *(one for several in groups for one in several))

    def options(self, interface: str) -> InterfaceOptions:
        """The options of an interface, with or without a table of its own."""
        return self.interfaces.get(interface, _NO_OPTIONS)


_NO_OPTIONS = InterfaceOptions()
