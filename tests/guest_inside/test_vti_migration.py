"""From a live VTI to plutino, both ends under load, by the very steps that the import prints."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import pytest

from plutino.dataplane.xfrm_stat import XFRM_STAT, parse_xfrm_stat
from plutino.lab.demo import BERLIN, INNER, OUTER, PARIS
from plutino.lab.hosts import Host
from plutino.lab.traffic import ping
from tests.support.exhaustive import EXHAUSTIVE
from tests.support.fault_stream import Stream
from tests.support.ip_command import ip_line
from tests.support.kernel_pair import pings
from tests.support.lab import Pair, running_pair

pytestmark = pytest.mark.guest

BEHIND = {PARIS: ("10.1.0.1", "2001:db8:1::1"), BERLIN: ("10.2.0.1", "2001:db8:2::1")}
NETWORKS = {PARIS: ("10.1.0.0/16", "2001:db8:1::/48"), BERLIN: ("10.2.0.0/16", "2001:db8:2::/48")}
KEY = {PARIS: "0x" + "01" * 36, BERLIN: "0x" + "02" * 36}
"""Of what that host sends."""
EVERYTHING = ("0.0.0.0/0", "::/0")
STREAMS = (
    (BEHIND[BERLIN][0], False),
    (BEHIND[PARIS][0], True),
    (BEHIND[BERLIN][1], False),
    (INNER[BERLIN][0], False),
    (INNER[PARIS][1], True),
)


@dataclass(frozen=True, slots=True)
class SetUp:
    """How the live VTI was made; ``family`` is that of the outer addresses."""

    family: int
    reqid: int = 1
    priority: int = 0
    strict: bool = False
    wildcard: bool = False


def policy_commands(here: Host, there: str, how: SetUp) -> list[str]:
    local, remote = OUTER[how.family][here.name], OUTER[how.family][there]
    return [
        f"src {one} dst {one} dir {direction} mark 5 priority {how.priority} "
        f"tmpl src {source} dst {target} proto esp reqid {how.reqid} mode tunnel"
        for one in EVERYTHING
        for direction, source, target in (
            ("out", local, remote),
            ("in", remote, local),
            ("fwd", remote, local),
        )
    ]


def make_live_vti(here: Host, there: str, how: SetUp) -> None:
    """As an administrator does it with iproute2."""
    local, remote = OUTER[how.family][here.name], OUTER[how.family][there]
    kind = "vti" if how.family == 4 else "vti6"
    ends = f"local {local}" if how.wildcard else f"local {local} remote {remote}"
    commands = [
        f"link add vti1 type {kind} {ends} key 5",
        "link set vti1 mtu 1400 up",
        f"address add {INNER[here.name][0]}/31 dev vti1",
        f"address add {INNER[here.name][1]}/127 dev vti1 nodad",
        f"address add {BEHIND[here.name][0]}/32 dev lo",
        f"address add {BEHIND[here.name][1]}/128 dev lo nodad",
        *(f"route add {network} dev vti1" for network in NETWORKS[there]),
    ]
    spis = {PARIS: 0x101, BERLIN: 0x102}
    for source, target, name in ((local, remote, here.name), (remote, local, there)):
        commands.append(
            f"xfrm state add src {source} dst {target} proto esp spi {spis[name]} "
            f"reqid {how.reqid} mode tunnel mark 5 replay-window 32 flag af-unspec "
            f"aead rfc4106(gcm(aes)) {KEY[name]} 128"
        )
    for words in policy_commands(here, there, how):
        commands.append(f"xfrm policy add {words}")
    for command in commands:
        ip_line(here, command)
    with here.namespace.entered():
        path = Path("/proc/sys/net/ipv4/conf/vti1/rp_filter")
        path.write_text(f"{int(how.strict)}\n")


@contextmanager
def live_pair(how: SetUp) -> Iterator[Pair]:
    with running_pair(how.family, plane="kernel", start=False) as pair:
        for host, peer in ((pair.paris, BERLIN), (pair.berlin, PARIS)):
            for path in (host.file, host.folder / f"{host.name}-{peer}.keys"):
                path.unlink()
            make_live_vti(host, peer, how)
        assert pings(pair)
        yield pair


def import_at_both(pair: Pair) -> tuple[list[list[str]], list[list[str]]]:
    """The steps of both ends, after the keys were handed over."""
    first = pair.paris.plutino("import", "vti")
    assert first.returncode == 0, first.stdout + first.stderr
    half = pair.berlin.folder / "from-paris.keys"
    (pair.paris.folder / "vti1-peer.keys").rename(half)
    second = pair.berlin.plutino("import", "vti", "--keys", half)
    assert second.returncode == 0, second.stdout + second.stderr
    for host in (pair.paris, pair.berlin):
        for name in ("gateway.toml", "vti1.keys"):
            assert (host.folder / name).stat().st_mode & 0o777 == 0o600
    return steps_of(first.stdout)[1:], steps_of(second.stdout)


def steps_of(text: str) -> list[list[str]]:
    """The commands of each numbered step."""
    steps = re.split(r"(?m)^\d+\. ", text)[1:]
    return [[line.strip() for line in step.splitlines() if line.startswith("  ")] for step in steps]


def run(host: Host, command: str) -> None:
    program, *arguments = command.split()
    if program == "plutino":
        done = host.plutino(*arguments)
    else:
        with host.namespace.entered():
            done = subprocess.run(
                command.split(), capture_output=True, text=True, check=False, timeout=60
            )
    assert done.returncode == 0, f"{command}: {done.stderr}"


def received(host: Host, link: str) -> int:
    """Packets that came out of a link."""
    return int(ip_line(host, f"-s link show {link}").split("RX:")[1].split()[7])


SET_UPS = {
    "by hand": SetUp(4),
    "by a daemon": SetUp(6, priority=375423),
    "without reqid": SetUp(4, reqid=0, priority=2000, strict=True),
    "wildcard": SetUp(4, reqid=7, priority=100, wildcard=True),
    "wildcard over IPv6": SetUp(6, wildcard=True),
}
BY_DEFAULT = ("by a daemon", "wildcard over IPv6")


@pytest.mark.parametrize("name", SET_UPS if EXHAUSTIVE else BY_DEFAULT)
def test_no_packet_is_lost(name: str) -> None:
    how = SET_UPS[name]
    with live_pair(how) as pair, ExitStack() as stack:
        streams = [
            stack.enter_context(Stream(pair, address, 7100 + number, back=back, interval=0.01))
            for number, (address, back) in enumerate(STREAMS)
        ]
        ours, theirs = import_at_both(pair)
        assert len(ours) == len(theirs)
        for number, commands in enumerate(zip(ours, theirs, strict=True)):
            for host, lines in zip((pair.paris, pair.berlin), commands, strict=True):
                for line in lines:
                    if not line.startswith("What an IKE"):
                        run(host, line)
                for stream in streams:
                    stream.until_it_passes()
            if how.priority and number < len(ours) - 1:
                # An IKE daemon puts its policies back when it rekeys.
                for host, peer in ((pair.paris, BERLIN), (pair.berlin, PARIS)):
                    for words in policy_commands(host, peer, how):
                        ip_line(host, f"xfrm policy update {words}")
            if number == len(ours) - 2:  # the traffic has moved, and the VTI is there
                assert received(pair.berlin, "ipsec5") == 0  # the VTI takes it all
        for stream in streams:
            assert (stream.lost(), stream.refused) == (set(), 0)
        for host in (pair.paris, pair.berlin):
            assert "vti1" not in ip_line(host, "link")
            assert ip_line(host, "xfrm state").count("proto esp") == 2
            assert ip_line(host, "xfrm policy").count("tmpl") == 6
            assert "mark" not in ip_line(host, "xfrm policy")
            assert host.plutino("apply", "gateway.toml").stdout == "nothing to do\n"
        assert received(pair.berlin, "ipsec5") > 0
        assert pings(pair)
        pair.assert_nothing_in_clear()


def test_without_the_wider_policies_the_vti_drops_the_new_packets() -> None:
    with live_pair(SetUp(4)) as pair:
        ours, theirs = import_at_both(pair)
        for host, steps in ((pair.paris, ours[:3]), (pair.berlin, theirs[:2])):
            for line in (line for lines in steps for line in lines):
                if "xfrm policy" not in line:
                    run(host, line)
        address = ip_address(INNER[BERLIN][0])
        assert ping(pair.paris.namespace, address, count=1, timeout=0.5)[0] == 0
        with pair.berlin.namespace.entered():
            assert parse_xfrm_stat(XFRM_STAT.read_text())["XfrmInTmplMismatch"] == 1
