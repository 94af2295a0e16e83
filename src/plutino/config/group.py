"""``[groups.NAME]``: several tunnels to one site, and how their health is measured."""

from typing import Annotated, Literal

from pydantic import Field

from plutino.config.table import Table
from plutino.config.uplink import ProbeOptions
from plutino.config.values import IpAddresses, IpNetwork

Weight = Annotated[int, Field(strict=True, ge=1, le=256)]
"""``rtnh_hops`` has 8 bits."""


class GroupProbeOptions(ProbeOptions):
    """How it is found out, inside of each tunnel of a group, whether it carries packets."""

    kind: Annotated[
        Literal["icmp", "tcp", "none"],
        Field(
            description="`icmp` sends echo requests through each tunnel; `tcp` opens connections "
            "to `port`, where a refusal is as good an answer; `none` trusts the paths outside."
        ),
    ] = "icmp"  # type: ignore[assignment]
    targets: Annotated[
        IpAddresses,
        Field(
            description="Who is asked through every tunnel; one answer of any is enough. For each "
            "tunnel the peer's inner address if not given, where `addresses` are /30, /31, /126 "
            "or /127 and so tell it.",
            examples=[["10.2.0.1"]],
        ),
    ] = ()
    lost_after: Annotated[
        int,
        Field(
            strict=True,
            ge=1,
            le=100,
            description="A tunnel is lost when there was no answer for so many intervals, also "
            "when there never was one.",
        ),
    ] = 5
    tunnel_targets: Annotated[
        dict[str, IpAddresses],
        Field(
            description="Who is asked through one tunnel, by its name, instead of `targets`.",
            examples=[{"a": "169.254.10.1", "b": "169.254.11.1"}],
        ),
    ] = {}  # noqa: RUF012 - pydantic copies it
    port: Annotated[
        int | None,
        Field(strict=True, ge=1, le=65535, description='The TCP port, for `kind = "tcp"` alone.'),
    ] = None


class Group(Table):
    """Several tunnels to one site, of which one carries the traffic, or all of them do."""

    tunnels: Annotated[
        tuple[str, ...],
        Field(
            description="The tunnels by name, the best first; each has an interface of its own.",
            examples=[["a", "b"]],
        ),
    ]
    mode: Annotated[
        Literal["active-standby", "ecmp"],
        Field(
            description="`active-standby` uses the first tunnel that is not lost, `ecmp` spreads "
            "flows over all that are not. Where all are lost, they are used as if none were."
        ),
    ] = "active-standby"
    routes: Annotated[
        tuple[IpNetwork, ...],
        Field(
            description="Networks behind the site: each becomes a route for every tunnel, and one "
            "unreachable route that holds when the interfaces are gone.",
            examples=[["10.2.0.0/16", "2001:db8:2::/48"]],
        ),
    ]
    weights: Annotated[
        dict[str, Weight],
        Field(
            description="With `ecmp`, how many of the flows a tunnel gets, by its name; 1 if not "
            "given.",
            examples=[{"a": 3}],
        ),
    ] = {}  # noqa: RUF012 - pydantic copies it
    probe: Annotated[
        GroupProbeOptions, Field(description="How it is found out which tunnels carry packets.")
    ] = GroupProbeOptions()
