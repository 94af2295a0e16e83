"""What plutino's nftables table does. Pure.

A connection that reached the host from outside of the tunnels is answered outside of them, though
a tunnel has the default route: its packets bear all bits of ``mark-mask``, which is no tunnel's
mark, so that the rule for tunnels leaves them alone. And the largest segment of TCP is held to what
a tunnel's MTU lets pass, in both directions.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from plutino.config.gateway import Gateway
from plutino.model.interface import Interface
from plutino.model.netfilter import NetfilterTable, table_name
from plutino.model.rule import Rule

_TCP_HEADERS: Final = {"ip": 40, "ip6": 60}
"""Bytes of IP and TCP header without options."""


def compile_netfilter(
    gateway: Gateway, interfaces: Iterable[Interface], rules: Iterable[Rule]
) -> NetfilterTable | None:
    """The table of an instance; None if there is nothing to do for one."""
    ours = [one for one in interfaces if one.namespace is None]
    chains = [*_answers(gateway, ours, rules), *_segments(ours)]
    if not chains:
        return None
    return NetfilterTable(table_name(gateway.instance), "\n".join(chains))


def _answers(gateway: Gateway, interfaces: list[Interface], rules: Iterable[Rule]) -> Iterator[str]:
    if not any(rule.suppress_prefix_length == 0 for rule in rules):
        return
    mask = f"{gateway.mark_mask:#x}"
    others = f"{gateway.mark_mask ^ 0xFFFFFFFF:#x}"
    names = ", ".join(f'"{one.name}"' for one in interfaces)
    restore = f"ct direction reply ct mark and {mask} == {mask} meta mark set meta mark or {mask}"
    yield f"""\
  chain incoming {{
    type filter hook prerouting priority mangle; policy accept;
    {restore}
    ct state new iifname != {{ "lo", {names} }} fib daddr type local ct mark set ct mark and {others} or {mask}
  }}
  chain outgoing {{
    type route hook output priority mangle; policy accept;
    {restore}
  }}"""  # noqa: E501


def _segments(interfaces: list[Interface]) -> Iterator[str]:
    lines = []
    for one in interfaces:
        for family, headers in _TCP_HEADERS.items():
            version = "ipv4" if family == "ip" else "ipv6"
            size = one.mtu - headers
            for way in ("iifname", "oifname"):
                lines.append(
                    f'    {way} "{one.name}" meta nfproto {version} tcp flags & (syn | rst) == syn '
                    f"tcp option maxseg size > {size} tcp option maxseg size set {size}"
                )
    if lines:
        rules = "\n".join(lines)
        yield f"""\
  chain segments {{
    type filter hook forward priority mangle; policy accept;
{rules}
  }}"""
