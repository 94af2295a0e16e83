"""VTI by plutino: both outer IP versions, keys, several tunnels, changes, foreign devices."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest

from plutino.config.static_keys import encode_keys, generate_pair
from plutino.control.report import State
from plutino.dataplane.xfrm_stat import XFRM_STAT, parse_xfrm_stat
from plutino.desired.sas import tunnel_reqid
from plutino.lab.demo import BERLIN, INNER, OUTER, PARIS
from plutino.lab.hosts import WIRE, Host
from plutino.lab.traffic import ping, transfer
from plutino.lab.wire import FrameKind
from tests.support.exhaustive import EXHAUSTIVE, alternating
from tests.support.fault_stream import state_of
from tests.support.ip_command import ip_line
from tests.support.kernel_pair import pings
from tests.support.lab import Pair, running_pair
from tests.support.multihomed_lab import run
from tests.support.until import until

pytestmark = pytest.mark.guest

VTI = """
[interfaces.vti1]
kind = "vti"
"""
KEYS = {PARIS: "input-key = 5\noutput-key = 7\n", BERLIN: "input-key = 7\noutput-key = 5\n"}
FOREIGN = (
    "link add vti9 type vti local 192.0.2.1 remote 192.0.2.9 key 5",
    "link add vti96 type vti6 local 2001:db8::1 remote 2001:db8::9 key 5",
    "xfrm state add src 192.0.2.1 dst 192.0.2.9 proto esp spi 0x999 mode tunnel reqid 9 mark 5 "
    "aead rfc4106(gcm(aes)) 0x0102030405060708010203040506070801020304 128",
    "xfrm policy add src 10.9.0.0/16 dst 10.8.0.0/16 dir out mark 5 "
    "tmpl src 192.0.2.1 dst 192.0.2.9 proto esp reqid 9 mode tunnel",
)
SHOWS = ("-d link", "xfrm state", "xfrm policy", "route show table all proto 134", "-4 address")


def rewrite(host: Host, *changes: tuple[str, str], more: str = "") -> None:
    """Edit a gateway file; each text that is replaced must be there."""
    text = host.file.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    host.file.write_text(text + more)


def make_vti(host: Host, keys: str = "key = 5\n") -> None:
    rewrite(host, ("ipsec1", "vti1"), more=VTI + keys)


def apply(*hosts: Host) -> None:
    for host in hosts:
        done = host.plutino("apply", host.file)
        assert done.returncode == 0, done.stderr


@contextmanager
def vti_pair(family: int = 4, keys: dict[str, str] | None = None) -> Iterator[Pair]:
    """VTIs on both ends, applied without a daemon; nothing in clear until the end."""
    with running_pair(family, plane="kernel", start=False) as pair:
        for host in (pair.paris, pair.berlin):
            make_vti(host, "key = 5\n" if keys is None else keys[host.name])
        apply(pair.paris, pair.berlin)
        yield pair
        pair.assert_nothing_in_clear()


@pytest.mark.parametrize("family", [4, 6])
def test_both_inner_families_pass_and_the_largest_packet_fits(family: int) -> None:
    with vti_pair(family) as pair:
        assert pings(pair)
        for text in INNER[BERLIN]:
            done = transfer(pair.paris.namespace, pair.berlin.namespace, ip_address(text))
            assert done.intact, done.error
        (mtu,) = re.findall(r"mtu (\d+)", ip_line(pair.paris, "link show vti1"))
        longest = max(len(frame) for frame, _ in pair.frames) - 14
        assert int(mtu) == {4: 1446, 6: 1426}[family]
        assert 1500 - 4 < longest <= 1500  # ESP pads to 4 bytes
        assert pair.paris.plutino("apply", pair.paris.file).stdout == "nothing to do\n"


@pytest.mark.parametrize("family", [4, 6])
def test_ip_shows_that_the_keys_are_the_marks(family: int) -> None:
    with vti_pair(family, KEYS) as pair:
        assert pings(pair)
        link = ip_line(pair.paris, "-d link show vti1")
        kind = "vti6" if family == 6 else "vti"
        local, remote = (OUTER[family][name] for name in (PARIS, BERLIN))
        for words in (
            f"{kind} remote {remote} local {local} ikey 0.0.0.5 okey 0.0.0.7",
            "alias plutino:default",
        ):
            assert words in link
        assert "addrgenmode none" in ip_line(pair.paris, "-d link show vti1")
        assert (
            ip_line(pair.paris, "address show dev vti1").count("inet6 fe80") == 1
        )  # plutino's own
        states = re.split("(?=src )", ip_line(pair.paris, "xfrm state"))
        outbound = next(one for one in states if one.startswith(f"src {local} dst {remote}"))
        inbound = next(one for one in states if one.startswith(f"src {remote} dst {local}"))
        assert "mark 0x7/0xffffffff" in outbound
        assert "mark 0x5/0xffffffff" in inbound
        assert "if_id" not in outbound + inbound
        policies = ip_line(pair.paris, "xfrm policy")
        assert policies.count("mark 0x7/0xffffffff") == 2
        assert policies.count("mark 0x5/0xffffffff") == 4
        assert policies.count(f"reqid {int(tunnel_reqid('default', BERLIN))} ") == 6
        assert "if_id" not in policies
        with pair.paris.namespace.entered():
            for name in ("disable_policy", "disable_xfrm"):
                assert Path(f"/proc/sys/net/ipv4/conf/vti1/{name}").read_text() == "0\n"


@pytest.mark.parametrize(("plane", "family"), alternating(["kernel", "userspace"]))
def test_a_vti_and_an_xfrm_interface_understand_each_other(family: int, plane: str) -> None:
    with running_pair(family, plane="kernel", start=False) as pair:
        make_vti(pair.paris)
        rewrite(pair.berlin, ('"kernel"', f'"{plane}"'))
        apply(pair.paris, pair.berlin)
        assert pings(pair)
        done = transfer(pair.berlin.namespace, pair.paris.namespace, ip_address(INNER[PARIS][0]))
        assert done.intact, done.error
        pair.assert_nothing_in_clear()


@pytest.mark.parametrize("family", [4, 6] if EXHAUSTIVE else [6])
def test_esp_in_udp_passes_a_vti(family: int) -> None:
    with running_pair(family, "udp", plane="kernel", start=False) as pair:
        for host in (pair.paris, pair.berlin):
            make_vti(host)
            host.start_daemon()
        for host in (pair.paris, pair.berlin):
            host.wait_until_up()
        assert pings(pair)
        assert pair.tap.count(FrameKind.ESP) == 0
        pair.assert_nothing_in_clear()


ROME = """
[tunnels.{name}]
interface = "{interface}"
local = "{local}"
remote = "{remote}"
static.key-file = "rome.keys"
"""


@pytest.mark.parametrize("family", [4, 6])
def test_several_peers_on_one_wildcard(family: int) -> None:
    paris, berlin = (OUTER[family][name] for name in (PARIS, BERLIN))
    rome = berlin.removesuffix("2") + "3"
    with running_pair(family, plane="kernel", start=False) as pair:
        ours, theirs = generate_pair(os.urandom)
        for host, keys in ((pair.paris, ours), (pair.berlin, theirs)):
            path = host.folder / "rome.keys"
            path.touch(mode=0o600)
            path.write_text(encode_keys(keys, used_at=host.name, peer="rome"))
        make_vti(pair.paris)
        more = 'remote-ts = ["10.255.0.0/31"]\n'
        rewrite(pair.paris, ("routes", f"{more}#"))
        more = ROME.format(name="rome", interface="vti1", local=paris, remote=rome)
        more += 'routes = ["10.3.0.0/16"]\nremote-ts = ["10.3.0.0/16"]\n'
        rewrite(pair.paris, more=more)
        # Berlin plays Rome too, at another address.
        more = ROME.format(name="paris2", interface="ipsec2", local=rome, remote=paris)
        rewrite(pair.berlin, more=more + 'addresses = ["10.3.0.1/32"]\n')
        ip_line(pair.berlin, f"address add {rome}/{24 if family == 4 else 64} dev wire")
        apply(pair.paris, pair.berlin)
        ip_line(pair.berlin, "route add 10.255.0.0/31 dev ipsec2 table 100")
        ip_line(pair.berlin, "rule add from 10.3.0.1 lookup 100")
        assert "remote any" in ip_line(pair.paris, "-d link show vti1")
        for text in (INNER[BERLIN][0], "10.3.0.1"):
            assert ping(pair.paris.namespace, ip_address(text))[0] == 3, text
        assert pair.paris.plutino("apply", pair.paris.file).stdout == "nothing to do\n"
        used = re.findall(r"\d+\(packets\)", ip_line(pair.paris, "-s xfrm state"))
        assert [one for one in used if one != "0(packets)"] == ["3(packets)"] * 4
        pair.assert_nothing_in_clear()


@pytest.mark.parametrize("family", [4, 6] if EXHAUSTIVE else [4])
def test_keys_and_ends_change_in_place(family: int) -> None:
    with vti_pair(family) as pair:
        (before,) = re.findall(r"(\d+): vti1@", ip_line(pair.paris, "link show vti1"))
        for host in (pair.paris, pair.berlin):
            rewrite(host, ("key = 5\n", KEYS[host.name]))
        apply(pair.paris, pair.berlin)
        assert pings(pair)
        elsewhere = OUTER[family][BERLIN].removesuffix("2") + "4"
        ip_line(pair.berlin, f"address add {elsewhere}/{24 if family == 4 else 64} dev wire")
        for host in (pair.paris, pair.berlin):
            rewrite(host, (f'"{OUTER[family][BERLIN]}"', f'"{elsewhere}"'))
        apply(pair.paris, pair.berlin)
        assert pings(pair)
        assert re.findall(r"(\d+): vti1@", ip_line(pair.paris, "link show vti1")) == [before]
        assert f"remote {elsewhere}" in ip_line(pair.paris, "-d link show vti1")
        assert pair.paris.plutino("apply", pair.paris.file).stdout == "nothing to do\n"
        states, policies = ip_line(pair.paris, "xfrm state"), ip_line(pair.paris, "xfrm policy")
        assert (states.count("proto esp"), policies.count("tmpl")) == (2, 6)


def test_a_vti_becomes_an_xfrm_interface_and_back() -> None:
    with vti_pair() as pair:
        for kind in ("xfrm", "vti"):
            for host in (pair.paris, pair.berlin):
                if kind == "xfrm":
                    rewrite(host, (VTI + "key = 5\n", ""))
                else:
                    rewrite(host, more=VTI + "key = 5\n")
            apply(pair.paris, pair.berlin)
            assert f" {kind} " in ip_line(pair.paris, "-d link show vti1")
            until(lambda: pings(pair), f"packets pass as {kind}")
            assert pair.paris.plutino("apply", pair.paris.file).stdout == "nothing to do\n"


def test_a_default_that_blocks_stops_a_vti() -> None:
    """Why that is refused: first ESP itself is blocked, then what it held, which has no policy."""

    def replies() -> int:
        address = ip_address(INNER[BERLIN][0])
        return ping(pair.paris.namespace, address, count=1, timeout=0.5)[0]

    with vti_pair() as pair:
        assert replies() == 1
        ip_line(pair.paris, "xfrm policy setdefault in block")
        with pair.paris.namespace.entered():
            for device in (WIRE, "vti1"):
                before = parse_xfrm_stat(XFRM_STAT.read_text())["XfrmInNoPols"]
                assert replies() == 0
                assert parse_xfrm_stat(XFRM_STAT.read_text())["XfrmInNoPols"] > before
                path = Path(f"/proc/sys/net/ipv4/conf/{device}/disable_policy")
                path.write_text("1\n")
        assert replies() == 1


def test_the_daemon_heals_a_vti() -> None:
    with running_pair(plane="kernel", start=False) as pair:
        for host in (pair.paris, pair.berlin):
            make_vti(host)
            host.start_daemon()
        for host in (pair.paris, pair.berlin):
            host.wait_until_up()
        for fault in (
            "link set vti1 type vti local 192.0.2.1 remote 192.0.2.2 key 8",
            "link del vti1",
            "xfrm policy flush",
            "xfrm state flush",
        ):
            ip_line(pair.paris, fault)
            until(lambda: state_of(pair.paris) is State.UP and pings(pair), fault)
        pair.assert_nothing_in_clear()


def test_vtis_of_others_stay_and_ours_go() -> None:
    with running_pair(plane="kernel", start=False) as pair:
        make_vti(pair.paris)
        for command in FOREIGN:
            ip_line(pair.paris, command)
        before = [ip_line(pair.paris, show) for show in SHOWS]
        apply(pair.paris)
        assert pair.paris.plutino("apply", pair.paris.file).stdout == "nothing to do\n"
        for file in (pair.paris.folder / "run" / "default").iterdir():
            file.unlink()  # its notes; the tag of the link is enough
        down = pair.paris.plutino("down")
        assert down.returncode == 0, down.stderr
        assert [ip_line(pair.paris, show) for show in SHOWS] == before


def test_a_vti_of_others_with_our_ends_is_told_and_all_is_undone() -> None:
    with running_pair(plane="kernel", start=False) as pair:
        make_vti(pair.paris)
        ip_line(pair.paris, "link add strange type vti local 192.0.2.1 remote 192.0.2.2 key 77")
        before = [ip_line(pair.paris, show) for show in SHOWS]
        done = pair.paris.plutino("apply", pair.paris.file)
        assert done.returncode == 1
        assert "error: create link vti1: File exists (EEXIST)" in done.stderr
        assert "hint: another VTI has the same ends, whatever its keys" in done.stderr
        assert [ip_line(pair.paris, show) for show in SHOWS] == before


@pytest.mark.parametrize("family", [4, 6] if EXHAUSTIVE else [6])
def test_routing_protocols_have_what_they_need(family: int) -> None:
    """A link-local address at each end, multicast to the other, and a state that can rest."""
    with vti_pair(family) as pair:
        here, there = (
            re.findall(r"inet6 (fe80::\S+)/64", ip_line(host, "-6 address show dev vti1"))
            for host in (pair.paris, pair.berlin)
        )
        assert len(here) == len(there) == 1
        assert here != there
        answers = run(pair.paris.namespace, "ping -6 -n -L -c 1 -W 5 ff02::1%vti1")
        assert f"from {there[0]}%vti1" in answers
        ip_line(pair.paris, "link set vti1 mode dormant state dormant")
        assert "NO-CARRIER" in ip_line(pair.paris, "link show vti1")
        done = pair.paris.plutino("apply", pair.paris.file)
        assert done.stdout.startswith("wake interface vti1")
        assert "NO-CARRIER" not in ip_line(pair.paris, "link show vti1")
        assert pings(pair)
