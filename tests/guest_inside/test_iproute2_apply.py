"""A whole gateway on the kernel plane, and every word that `ip` has for it, also while it changes.

What is expected is written here by hand; of the compiler are the hashes alone.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from plutino.config.static_keys import StaticKeys, encode_keys, generate_pair
from plutino.desired.instance import twin_metric
from plutino.desired.sas import tunnel_reqid
from plutino.lab.hosts import Host
from plutino.model.numbers import IfId, Mark
from plutino.model.policy import (
    Default,
    Direction,
    Mode,
    Policy,
    PolicyDefaults,
    Selector,
    Template,
)
from plutino.model.sa import (
    ReplayState,
    SaDirection,
    SecurityAssociation,
    UdpEncapsulation,
)
from plutino.netlink.socket import NETLINK_XFRM, NetlinkSocket
from plutino.netlink.xfrm_client import XfrmClient
from tests.support.iproute2 import blocks, defaults_text, ip, policy_text, sa_text
from tests.support.lab import Pair, running_pair
from tests.support.until import until

pytestmark = pytest.mark.guest

ANY = ((ip_network("0.0.0.0/0"),) * 2, (ip_network("::/0"),) * 2)
GATEWAY = """\
data-plane = "kernel"
mark-mask = 0xffff00

[policy-default]
input = "accept"
forward = "block"

[interfaces.ipsec2]
external = true
[interfaces.ipsec3]
link = "wire"
[interfaces.ipsec4]
vrf = "red"

[tunnels.plain]
interface = "ipsec1"
local = "192.0.2.1"
remote = "192.0.2.2"
addresses = ["10.255.0.0/31", "fd00:1::/127"]
routes = ["10.2.0.0/16", "2001:db8:2::/48"]
static.key-file = "plain.keys"

[tunnels.first]
interface = "ipsec2"
if-id = 21
local = "192.0.2.1"
remote = "192.0.2.21"
routes = ["10.21.0.0/16"]
replay-window = 64
static.key-file = "first.keys"

[tunnels.second]
interface = "ipsec2"
if-id = 22
local = "192.0.2.1"
remote = "192.0.2.22"
routes = ["10.22.0.0/16", "2001:db8:22::/48"]
static.key-file = "second.keys"

[tunnels.linked]
interface = "ipsec3"
local = "2001:db8::1"
remote = "2001:db8::2"
encapsulation = "udp"
nat-keepalive = 20
mark-in = "0x10/0xf0"
mark-out = "0x20/0xf0"
set-mark-in = "0x1000/0xf000"
set-mark-out = "0x7700"
remote-ts = ["10.3.0.0/16"]
local-ts = ["10.1.0.0/16"]
static.key-file = "linked.keys"

[tunnels.beet]
interface = "ipsec4"
local = "192.0.2.1"
remote = "192.0.2.4"
mode = "beet"
addresses = ["10.255.4.0/31"]
local-ts = ["10.255.4.0/32"]
remote-ts = ["10.255.4.1/32"]
replay-window = 4096
static.key-file = "beet.keys"
"""
BEET = (ip_network("10.255.4.0/32"), ip_network("10.255.4.1/32"))


@dataclass(frozen=True, slots=True)
class Meant:
    """What a tunnel of the file means, in the kernel's numbers."""

    name: str
    suite: str
    remote: str
    if_id: int
    set_mark_out: Mark
    local: str = "192.0.2.1"
    selectors: tuple[Any, ...] = ANY
    mode: Mode = Mode.TUNNEL
    window: int = 1024
    udp: UdpEncapsulation | None = None
    keepalive: int = 0
    marks: tuple[Mark | None, Mark | None] = (None, None)
    set_mark_in: Mark | None = None

    def sas(self, keys: StaticKeys) -> list[SecurityAssociation]:
        """In the order in which they are installed."""
        reqid = tunnel_reqid("default", self.name)
        local, remote = ip_address(self.local), ip_address(self.remote)
        mark_in, mark_out = self.marks
        is_beet = self.mode is Mode.BEET
        (pair, *_) = self.selectors
        inbound = SecurityAssociation(
            spi=keys.inbound.spi,
            source=remote,
            destination=local,
            reqid=reqid,
            if_id=IfId(self.if_id),
            keys=keys.suite.keys(keys.inbound.keymat),
            direction=SaDirection.IN,
            mode=self.mode,
            output_mark=self.set_mark_in,
            encapsulation=self.udp,
            replay=ReplayState(window=self.window),
            mark=mark_in,
            selector=Selector(pair[1], pair[0]) if is_beet else None,
        )
        outbound = SecurityAssociation(
            spi=keys.outbound.spi,
            source=local,
            destination=remote,
            reqid=reqid,
            if_id=IfId(self.if_id),
            keys=keys.suite.keys(keys.outbound.keymat),
            direction=SaDirection.OUT,
            mode=self.mode,
            output_mark=self.set_mark_out,
            encapsulation=self.udp,
            mark=mark_out,
            selector=Selector(*pair) if is_beet else None,
            nat_keepalive=self.keepalive,
        )
        return [inbound, outbound]

    def policies(self) -> list[Policy]:
        """In the order in which they are installed."""
        reqid = tunnel_reqid("default", self.name)
        local, remote = ip_address(self.local), ip_address(self.remote)
        mark_in, mark_out = self.marks
        return [
            Policy(
                direction,
                selector,
                IfId(self.if_id),
                (Template(*ends, reqid, self.mode),),
                priority=1000,
                mark=mark,
            )
            for ours, theirs in self.selectors
            for direction, selector, ends, mark in (
                (Direction.OUT, Selector(ours, theirs), (local, remote), mark_out),
                (Direction.IN, Selector(theirs, ours), (remote, local), mark_in),
                (Direction.FWD, Selector(theirs, ours), (remote, local), mark_in),
            )
        ]


TUNNELS = (
    Meant("plain", "aes256gcm16", "192.0.2.2", 1, Mark(0x100, 0xFFFF00)),
    Meant("first", "aes128ccm8", "192.0.2.21", 21, Mark(0x1500, 0xFFFF00), window=64),
    Meant("second", "aes192ctr-aesxcbc", "192.0.2.22", 22, Mark(0x1600, 0xFFFF00)),
    Meant(
        "linked",
        "chacha20poly1305",
        "2001:db8::2",
        3,
        Mark(0x7700),
        local="2001:db8::1",
        selectors=((ip_network("10.1.0.0/16"), ip_network("10.3.0.0/16")),),
        udp=UdpEncapsulation(),
        keepalive=20,
        marks=(Mark(0x10, 0xF0), Mark(0x20, 0xF0)),
        set_mark_in=Mark(0x1000, 0xF000),
    ),
    Meant(
        "beet",
        "aes256-sha512",
        "192.0.2.4",
        4,
        Mark(0x400, 0xFFFF00),
        selectors=(BEET,),
        mode=Mode.BEET,
        window=4096,
    ),
)
ORDINARY = PolicyDefaults(Default.ACCEPT, Default.ACCEPT, Default.ACCEPT)
BLOCKED = PolicyDefaults(Default.ACCEPT, Default.BLOCK, Default.ACCEPT)
MTUS = {"ipsec1": 1446, "ipsec2": 1450, "ipsec3": 1418, "ipsec4": 1426}
SENTINEL = "src 203.0.113.1 dst 203.0.113.2 proto esp spi 0x999"


@contextmanager
def monitored(host: Host, events: list[str]) -> Iterator[None]:
    """`ip xfrm monitor` at a host during the block; what it printed, as blocks, is in ``events``.

    An SA of nobody's, made and deleted before and after, tells that it listens and has heard all.
    """
    output = host.folder / "monitor.txt"
    with output.open("w") as file:
        listener = subprocess.Popen(["ip", "xfrm", "monitor"], stdout=file)
    try:
        until(lambda: _says_something(output), "the monitor listens")
        before = output.stat().st_size
        yield
        until(lambda: _says_something(output, before), "the monitor has heard all")
    finally:
        listener.kill()
        listener.wait()
    events += [one for one in blocks(output.read_text()) if "203.0.113.1" not in one]


def _says_something(output: Path, beyond: int = 0) -> bool:
    ip(f"xfrm state add {SENTINEL} mode transport enc ecb(cipher_null) ")
    ip(f"xfrm state delete {SENTINEL}")
    return "203.0.113.1" in output.read_text()[beyond:]


@pytest.fixture(scope="module")
def keys() -> dict[str, StaticKeys]:
    return {one.name: generate_pair(os.urandom, one.suite)[0] for one in TUNNELS}


@pytest.fixture(scope="module")
def events() -> list[str]:
    """Of `apply`."""
    return []


@pytest.fixture(scope="module")
def pair(keys: dict[str, StaticKeys], events: list[str]) -> Iterator[Pair]:
    """Paris with the whole file up; the test is in its namespace."""
    with running_pair(start=False) as both, both.paris.namespace.entered():
        paris = both.paris
        paris.file.write_text(GATEWAY)
        for name, one in keys.items():
            file = paris.folder / f"{name}.keys"
            file.touch(mode=0o600)
            file.write_text(encode_keys(one, used_at="paris", peer=name))
        ip("link add red type vrf table 100")
        ip("link set red up")
        with monitored(paris, events):
            paris.start_daemon()
            paris.wait_until_up()
        yield both


def wanted_sas(keys: dict[str, StaticKeys]) -> list[SecurityAssociation]:
    return [sa for one in TUNNELS for sa in one.sas(keys[one.name])]


def wanted_policies() -> list[Policy]:
    return [policy for one in TUNNELS for policy in one.policies()]


def test_the_monitor_tells_what_apply_does(
    pair: Pair, keys: dict[str, StaticKeys], events: list[str]
) -> None:
    assert events == [
        *(policy_text(one, statistics=False) for one in wanted_policies()),
        *(sa_text(one, statistics=False) for one in wanted_sas(keys)),
        defaults_text(BLOCKED),
    ]


def test_states(pair: Pair, keys: dict[str, StaticKeys]) -> None:
    wanted = wanted_sas(keys)
    assert sorted(blocks(ip("-s -d xfrm state"))) == sorted(map(sa_text, wanted))
    with NetlinkSocket.kernel(NETLINK_XFRM) as socket:
        read = {sa.spi: sa for sa, _use in XfrmClient(socket).list_sas()}
    assert read == {sa.spi: sa for sa in wanted}


def test_policies(pair: Pair) -> None:
    wanted = wanted_policies()
    shown = blocks(ip("-s -d xfrm policy"))
    own = [one for one in shown if "\nsocket " not in one]
    assert sorted(own) == sorted(map(policy_text, wanted))
    # The socket for ESP in UDP goes past the SPD.
    beside = sorted(one.splitlines()[1].split(" index")[0] for one in shown if one not in own)
    assert beside == ["socket in action allow", "socket out action allow"]
    with NetlinkSocket.kernel(NETLINK_XFRM) as socket:
        assert set(XfrmClient(socket).list_policies()) == set(wanted)
    assert blocks(ip("xfrm policy getdefault")) == [defaults_text(BLOCKED)]


def test_links(pair: Pair) -> None:
    shown = {one["ifname"]: one for one in json.loads(ip("-d -j link"))}
    data = {
        name: shown[name]["linkinfo"].get("info_data", {})
        for name in shown
        if shown[name].get("linkinfo", {}).get("info_kind") == "xfrm"
    }
    assert data == {
        "ipsec1": {"if_id": "0x1"},
        "ipsec2": {"external": True},
        "ipsec3": {"if_id": "0x3"},
        "ipsec4": {"if_id": "0x4"},
    }
    for name, mtu in MTUS.items():
        one = shown[name]
        assert (one["mtu"], one["ifalias"]) == (mtu, "plutino:default")
        assert "UP" in one["flags"]
        assert one["inet6_addr_gen_mode"] == "none"
        assert one.get("master") == ("red" if name == "ipsec4" else None)
        assert one.get("link") == ("wire" if name == "ipsec3" else None)


def test_routes(pair: Pair) -> None:
    def shown(version: int) -> set[tuple[Any, ...]]:
        listed = json.loads(ip(f"-{version} -d -j route show table all proto 134"))
        return {
            (one["type"], one["dst"], one.get("dev"), one["metric"], one["table"])
            + ((one["if_id"],) if one.get("encap") == "xfrm" else ())
            for one in listed
        }

    twin = twin_metric("default")
    assert shown(4) == {
        ("unicast", "10.2.0.0/16", "ipsec1", 50, "main"),
        ("unicast", "10.21.0.0/16", "ipsec2", 50, "main", 21),
        ("unicast", "10.22.0.0/16", "ipsec2", 50, "main", 22),
        ("unreachable", "10.2.0.0/16", None, twin, "main"),
        ("unreachable", "10.21.0.0/16", None, twin, "main"),
        ("unreachable", "10.22.0.0/16", None, twin, "main"),
        ("unreachable", "10.255.0.0/31", None, twin, "main"),
        ("unreachable", "10.255.4.0/31", None, twin, "100"),
    }
    assert shown(6) == {
        ("unicast", "2001:db8:2::/48", "ipsec1", 50, "main"),
        ("unicast", "2001:db8:22::/48", "ipsec2", 50, "main", 22),
        ("unreachable", "2001:db8:2::/48", "lo", twin, "main"),
        ("unreachable", "2001:db8:22::/48", "lo", twin, "main"),
        ("unreachable", "fd00:1::/127", "lo", twin, "main"),
    }


def test_a_second_apply_tells_nothing(pair: Pair) -> None:
    events: list[str] = []
    with monitored(pair.paris, events):
        done = pair.paris.plutino("apply", pair.paris.file)
    assert (done.stdout, done.stderr) == ("nothing to do\n", "")
    assert events == []


def test_the_monitor_tells_what_down_does(pair: Pair, keys: dict[str, StaticKeys]) -> None:
    events: list[str] = []
    with monitored(pair.paris, events):
        done = pair.paris.plutino("down")
    assert done.returncode == 0, done.stderr
    sas = [f"Deleted {sa_text(one, statistics=False)}" for one in wanted_sas(keys)]
    policies = [f"Deleted {policy_text(one, statistics=False)}" for one in wanted_policies()]
    assert sorted(events[: len(sas)]) == sorted(sas)
    assert sorted(events[len(sas) : -1]) == sorted(policies)
    assert events[-1] == defaults_text(ORDINARY)
    assert ip("xfrm state") == ip("xfrm policy") == ""
    assert json.loads(ip("-j link show type xfrm") or "[]") in ([], [{}])
