"""What plutino's nftables table does. Pure.

A connection that reached the host from outside of the tunnels is answered outside of them, though
a tunnel has the default route: its packets bear all bits of ``mark-mask``, which is no tunnel's
mark, so that the rule for tunnels leaves them alone. What came in by one of several uplinks is
answered by the same one. And the largest segment of TCP is held to what
a tunnel's MTU lets pass, in both directions.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final

from plutino.config.gateway import Gateway
from plutino.config.numbers import uplink_mark
from plutino.desired.guard import compile_guard
from plutino.desired.state import Surroundings
from plutino.model.interface import Interface
from plutino.model.netfilter import NetfilterTable, table_name
from plutino.model.numbers import U32_MAX
from plutino.model.rule import Rule

_TCP_HEADERS: Final = {"ip": 40, "ip6": 60}
"""Bytes of IP and TCP header without options."""


def compile_netfilter(
    gateway: Gateway,
    interfaces: Iterable[Interface],
    rules: Iterable[Rule],
    surroundings: Surroundings,
) -> NetfilterTable | None:
    """The table of an instance; None if there is nothing to do for one."""
    ours = [one for one in interfaces if one.namespace is None]
    chains = [
        *_answers(gateway, ours, rules),
        *_segments(ours),
        *_exemptions(gateway, ours),
        *compile_guard(gateway, ours, surroundings),
    ]
    if not chains:
        return None
    return NetfilterTable(table_name(gateway.instance), "\n".join(chains))


def _answers(gateway: Gateway, interfaces: list[Interface], rules: Iterable[Rule]) -> Iterator[str]:
    has_default = any(rule.suppress_prefix_length == 0 for rule in rules)
    restore = [*_restored_uplinks(gateway)]
    incoming = [*restore, *_marked_uplinks(gateway)]
    if has_default:
        restore.append(_restored(gateway))
        incoming += [_restored(gateway), _marked(gateway, interfaces)]
    if not incoming:
        return
    for chain, kind, hook, lines in (
        ("incoming", "filter", "prerouting", incoming),
        ("outgoing", "route", "output", [_outer(gateway), *restore]),
    ):
        rows = "\n".join(f"    {line}" for line in lines)
        yield f"""\
  chain {chain} {{
    type {kind} hook {hook} priority mangle; policy accept;
{rows}
  }}"""


def _outer(gateway: Gateway) -> str:
    """What bears bits of ours knows its way already.

    ESP of a socket that is bound to a tunnel's interface still belongs to that socket: routed anew
    for another mark, it would go into the interface again (``ip_route_me_harder()``).
    """
    return f"meta mark and {gateway.mark_mask:#x} != 0 return"


def _restored_uplinks(gateway: Gateway) -> Iterator[str]:
    """Answers leave by the uplink that the connection came in by."""
    for name in gateway.uplinks:
        mark = uplink_mark(gateway, name)
        others = f"{mark.mask ^ U32_MAX:#x}"
        yield (
            f"ct direction reply ct mark and {mark.mask:#x} == {mark.value:#x} "
            f"meta mark set meta mark and {others} or {mark.value:#x}"
        )


def _marked_uplinks(gateway: Gateway) -> Iterator[str]:
    for name, options in gateway.uplinks.items():
        mark = uplink_mark(gateway, name)
        others = f"{mark.mask ^ U32_MAX:#x}"
        yield (
            f'ct state new iifname "{options.interface}" '
            f"ct mark set ct mark and {others} or {mark.value:#x}"
        )


def _restored(gateway: Gateway) -> str:
    mask = f"{gateway.mark_mask:#x}"
    return f"ct direction reply ct mark and {mask} == {mask} meta mark set meta mark or {mask}"


def _marked(gateway: Gateway, interfaces: list[Interface]) -> str:
    mask = f"{gateway.mark_mask:#x}"
    others = f"{gateway.mark_mask ^ U32_MAX:#x}"
    names = ", ".join(f'"{one.name}"' for one in interfaces)
    return (
        f'ct state new iifname != {{ "lo", {names} }} fib daddr type local '
        f"ct mark set ct mark and {others} or {mask}"
    )


def _exemptions(gateway: Gateway, interfaces: list[Interface]) -> Iterator[str]:
    """Translation to the very source, before others come: the first to translate has the word.

    The kernel asks the chains of type nat in turn until one has decided (``nf_nat_inet_fn()``).
    """
    if not gateway.nat_exempt:
        return
    names = ", ".join(f'"{one.name}"' for one in interfaces)
    mask = f"{gateway.mark_mask:#x}"
    rows = []
    for family in ("ip", "ip6"):
        same = f"snat {family} to {family} saddr"
        if names:
            rows.append(f"    oifname {{ {names} }} {same}")
        rows.append(f"    meta mark and {mask} != 0 meta l4proto esp {same}")
        rows.append(f"    meta mark and {mask} != 0 udp sport {{ 500, 4500 }} {same}")
    text = "\n".join(rows)
    yield f"""\
  chain exemptions {{
    type nat hook postrouting priority srcnat - 1; policy accept;
{text}
  }}"""


def _segments(interfaces: list[Interface]) -> Iterator[str]:
    """A rule for each MTU, not for each interface: every packet that is forwarded meets them."""
    names: dict[int, list[str]] = defaultdict(list)
    for one in interfaces:
        names[one.mtu].append(f'"{one.name}"')
    lines = []
    for mtu, several in names.items():
        yield f"""\
  set mtu{mtu} {{
    type ifname; size {len(several)}; elements = {{ {", ".join(several)} }}
  }}"""
        for family, headers in _TCP_HEADERS.items():
            version = "ipv4" if family == "ip" else "ipv6"
            size = mtu - headers
            for way in ("iifname", "oifname"):
                lines.append(
                    f"    {way} @mtu{mtu} meta nfproto {version} tcp flags & (syn | rst) == syn "
                    f"tcp option maxseg size > {size} tcp option maxseg size set {size}"
                )
    if lines:
        rules = "\n".join(lines)
        yield f"""\
  chain segments {{
    type filter hook forward priority mangle; policy accept;
{rules}
  }}"""
