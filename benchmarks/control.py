"""How fast objects are installed, beside `ip -batch` with the same ones in the same run.

Where the kernel has XFRM interfaces and ESP (in a guest: CONTRIBUTING.md) all of a gateway with
1,000 tunnels; elsewhere what the kernel supports: policies, addresses and routes.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network, ip_interface
from typing import Final

from plutino.apply.applier import execute
from plutino.apply.system import System
from plutino.dataplane.journal import Journal, Journals
from plutino.dataplane.kernel import KernelPlane
from plutino.dataplane.probe.attempts import probe_kernel
from plutino.dataplane.sysctls import SysctlClient
from plutino.lab.namespaces import NetworkNamespace
from plutino.model.algorithms import AeadKey
from plutino.model.feature import PLAIN_TUNNEL
from plutino.model.interface import Interface
from plutino.model.link import Address, Route
from plutino.model.netfilter import NetfilterTable
from plutino.model.numbers import IfId, ReqId, Spi
from plutino.model.policy import Direction, Policy, PolicyDefaults, Selector, Template
from plutino.model.rule import Rule
from plutino.model.sa import SaDirection, SecurityAssociation
from plutino.model.secret import Secret
from plutino.model.subject import Subject
from plutino.model.sysctl import Sysctl
from plutino.netfilter.client import NetfilterClient
from plutino.netlink.route_clients import RouteClients
from plutino.netlink.socket import NETLINK_XFRM, NetlinkSocket
from plutino.plan.step import Step, StepAction

_US: Final = IPv4Address("192.0.2.1")
_KEY: Final = bytes(range(20))
_MTU: Final = 1400
_WAYS: Final = ((SaDirection.OUT, Direction.OUT), (SaDirection.IN, Direction.IN))

Objects = dict[str, tuple[StepAction, Sequence[Subject]]]


def add_options(parser: argparse.ArgumentParser) -> None:
    """What can be chosen."""
    parser.add_argument("--tunnels", type=int, default=1000, help="tunnels (default: 1000)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, of which the best counts")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """Measure, print, and fail if plutino is the slower for the whole."""
    whole = not any(probe_kernel().lacks(PLAIN_TUNNEL.requirements))
    wanted = objects(options.tunnels, whole=whole)
    best: dict[str, dict[str, float]] = {"ip -batch": {}, "plutino": {}}
    for _round in range(options.rounds):
        for name, act in (("ip -batch", _by_ip), ("plutino", _by_plutino)):
            for kind, seconds in act(wanted).items():
                best[name][kind] = min(seconds, best[name].get(kind, seconds))
    totals = {name: sum(parts.values()) for name, parts in best.items()}
    ratio = totals["ip -batch"] / totals["plutino"]
    if options.json:
        print(json.dumps({"version": 1, "seconds": best, "ratio": round(ratio, 2)}, indent=2))
    else:
        print(f"{'seconds':<12}{'objects':>10}{'ip -batch':>12}{'plutino':>12}")
        for kind, (_action, values) in wanted.items():
            cells = "".join(f"{best[name][kind]:>12.3f}" for name in best)
            print(f"{kind:<12}{len(values):>10,}{cells}")
        print(f"plutino installs them {ratio:.2f} times as fast")
    if not whole:
        print("bench: without links and SAs, which this kernel lacks", file=sys.stderr)
    return 0 if ratio >= 1 else 1


def objects(tunnels: int, *, whole: bool) -> Objects:
    """Everything of so many tunnels, in the order in which it is installed."""
    numbers = range(1, tunnels + 1)
    name: Callable[[int], str] = (lambda n: f"ipsec{n}") if whole else (lambda n: "lo")
    links = [Interface(name(n), IfId(n), _MTU) for n in numbers] if whole else []
    found: Objects = {
        "links": (StepAction.CREATE, links),
        "policies": (StepAction.CREATE, [one for n in numbers for one in _policies(n)]),
        "SAs": (StepAction.CREATE, [one for n in numbers for one in _sas(n)] if whole else []),
        "addresses": (
            StepAction.CREATE,
            [
                Address(name(n), ip_interface((int(IPv4Address("10.0.0.0")) + 2 * n, 31)))
                for n in numbers
            ],
        ),
        "links up": (StepAction.UP, links),
        "routes": (
            StepAction.CREATE,
            [
                Route(IPv4Network((int(IPv4Address("20.0.0.0")) + 256 * n, 24)), name(n), metric=50)
                for n in numbers
            ],
        ),
    }
    return {kind: one for kind, one in found.items() if one[1]}


def _peer(number: int) -> IPv4Address:
    return IPv4Address("100.64.0.0") + number


def _ends(direction: SaDirection, number: int) -> tuple[IPv4Address, IPv4Address]:
    there = _peer(number)
    return (_US, there) if direction is SaDirection.OUT else (there, _US)


def _sas(number: int) -> Iterator[SecurityAssociation]:
    for direction, _ in _WAYS:
        key = AeadKey("rfc4106(gcm(aes))", Secret(_KEY), 128)
        ends = _ends(direction, number)
        yield SecurityAssociation(
            Spi(0x1000 + number), *ends, ReqId(number), IfId(number), key, direction, esn=False
        )


def _policies(number: int) -> Iterator[Policy]:
    for text in ("0.0.0.0/0", "10.0.0.0/8"):
        selector = Selector(IPv4Network(text), IPv4Network(text))
        for direction in Direction:
            way = SaDirection.OUT if direction is Direction.OUT else SaDirection.IN
            template = Template(*_ends(way, number), ReqId(number))
            yield Policy(direction, selector, IfId(number), (template,), 100)


@contextmanager
def _fresh() -> Iterator[RouteClients]:
    namespace = NetworkNamespace.create()
    try:
        with namespace.entered(), RouteClients() as routes:
            routes.home.set_link("lo", up=True)
            yield routes
    finally:
        namespace.close()


def _by_plutino(wanted: Objects) -> dict[str, float]:
    with _fresh() as routes, NetlinkSocket.kernel(NETLINK_XFRM) as xfrm:
        plane = KernelPlane("bench", xfrm, routes, Journals.in_memory())
        sysctls = SysctlClient(routes, Journal.in_memory())
        system = System(routes, NetfilterClient("bench", None), sysctls)
        parts = {}
        for kind, (action, values) in wanted.items():
            run = [Step(action, value, "it is missing") for value in values]
            start = time.perf_counter()
            execute(run, plane, system)
            parts[kind] = time.perf_counter() - start
        return parts


def _by_ip(wanted: Objects) -> dict[str, float]:
    with _fresh():
        parts = {}
        for kind, (action, values) in wanted.items():
            batch = "".join(f"{_words(action, value)}\n" for value in values)
            start = time.perf_counter()
            subprocess.run(["ip", "-batch", "-"], input=batch, text=True, check=True)
            parts[kind] = time.perf_counter() - start
        return parts


def _words(action: StepAction, value: Subject) -> str:
    """The same object as `ip` takes it."""
    match value:
        case Interface(name=name, if_id=if_id, mtu=mtu):
            if action is StepAction.UP:
                return f"link set {name} up"
            return f"link add {name} mtu {mtu} type xfrm if_id {int(if_id)}"
        case Address(interface, address):
            return f"address add {address} dev {interface}"
        case Route():
            where = f"dev {value.interface} metric {value.metric} proto {value.protocol}"
            return f"route add {value.destination} {where}"
        case SecurityAssociation():
            return (
                f"xfrm state add src {value.source} dst {value.destination} proto esp "
                f"spi {int(value.spi)} reqid {int(value.reqid)} mode tunnel "
                f"aead rfc4106(gcm(aes)) 0x{_KEY.hex()} 128 flag af-unspec "
                f"if_id {int(value.if_id)}"
            )
        case Policy():
            (template,) = value.templates
            return (
                f"xfrm policy add src {value.selector.source} dst {value.selector.destination} "
                f"dir {value.direction.name.lower()} priority {value.priority} "
                f"if_id {int(value.if_id)} tmpl src {template.source} dst {template.destination} "
                f"proto esp reqid {int(template.reqid)} mode tunnel"
            )
        case PolicyDefaults() | Rule() | NetfilterTable() | Sysctl():
            raise AssertionError("a gateway has few of these")
