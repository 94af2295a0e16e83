"""A guest's kernel has what the data plane and its tests use."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from plutino.lab.guest.run import GUEST_VARIABLE
from tests.support.ip_command import ip_here
from tests.support.namespace import fresh_namespace

pytestmark = pytest.mark.guest

KEY = "0x" + "0102030405060708" * 8


def key(octets: int) -> str:
    """A key of that length, as iproute2 reads it."""
    return KEY[: 2 + 2 * octets]


CIPHERS = {
    "aes-128-gcm": f"aead rfc4106(gcm(aes)) {key(20)} 128",
    "aes-256-gcm": f"aead rfc4106(gcm(aes)) {key(36)} 128",
    "gmac": f"aead rfc4543(gcm(aes)) {key(20)} 128",
    "aes-128-ccm": f"aead rfc4309(ccm(aes)) {key(19)} 128",
    "chacha20-poly1305": f"aead rfc7539esp(chacha20,poly1305) {key(36)} 128",
    "cbc-sha256": f"enc cbc(aes) {key(16)} auth-trunc hmac(sha256) {key(32)} 128",
    "ctr-sha512": f"enc rfc3686(ctr(aes)) {key(20)} auth-trunc hmac(sha512) {key(64)} 256",
    "cbc-xcbc": f"enc cbc(aes) {key(16)} auth-trunc xcbc(aes) {key(16)} 96",
    "cbc-cmac": f"enc cbc(aes) {key(16)} auth-trunc cmac(aes) {key(16)} 96",
    "null-sha1": f"enc ecb(cipher_null) '' auth-trunc hmac(sha1) {key(20)} 96",
}
LINKS = (
    "type xfrm dev lo if_id 1",
    "type dummy",
    "type veth peer name other",
    "type vrf table 100",
    "type vti local 127.0.0.1 remote 127.0.0.2 key 1",
    "type vti6 local ::1 remote ::2 key 1",
)
RULES = (
    "rule add fwmark 0/0xff00 lookup 100 priority 100",
    "-6 rule add fwmark 0/0xff00 lookup 100 priority 100",
    "-6 route add 2001:db8:1::/48 from 2001:db8:2::/48 dev lo table 100",
)
RULESET = """
table inet t {
  chain mangle { type filter hook output priority mangle; ct state new meta mark set 0x100; }
  chain nat { type nat hook postrouting priority srcnat; ip daddr 192.0.2.1 masquerade; }
  chain incoming { type filter hook input priority filter; ipsec in reqid 1 counter accept; }
}
"""


def test_the_kernel_is_the_one_that_was_asked_for() -> None:
    machine, _, series = os.environ[GUEST_VARIABLE].partition("-")
    assert re.match(rf"{re.escape(series)}\.", os.uname().release)
    packaged = os.uname().release.endswith("-amd64")
    assert packaged == (machine == "qemu")


def test_the_checkout_and_its_python_are_there() -> None:
    program = Path(sys.executable).with_name("plutino")
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert Path("/dev/net/tun").is_char_device()


def test_xfrm_statistics_are_there() -> None:
    names = [line.split()[0] for line in Path("/proc/net/xfrm_stat").read_text().splitlines()]
    assert "XfrmOutNoStates" in names


@pytest.mark.parametrize("link", LINKS, ids=lambda link: link.split()[1])
def test_links_can_be_made(link: str) -> None:
    with fresh_namespace():
        ip_here(f"link add ipsec1 {link}")
        assert f"{link.split()[1]} " in ip_here("-d link show ipsec1")


def test_a_new_namespace_has_no_devices_but_its_own() -> None:
    with fresh_namespace():
        for link in LINKS:  # those kinds would bring fallback devices
            ip_here(f"link add x {link}")
            ip_here("link del x")
        names = re.findall(r"^\d+: (\S+?)[:@]", ip_here("link show"), re.MULTILINE)
        assert names == ["lo"]


@pytest.mark.parametrize("cipher", CIPHERS)
def test_sas_can_be_added(cipher: str) -> None:
    with fresh_namespace():
        ends = "src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x100"
        ip_here(f"xfrm state add {ends} mode tunnel reqid 1 if_id 1 {CIPHERS[cipher]}")
        assert "if_id 0x1" in ip_here("xfrm state")


def test_policy_routing_in_several_tables() -> None:
    with fresh_namespace():
        ip_here("link set lo up")
        for rule in RULES:
            ip_here(rule)


def test_netem_can_delay() -> None:
    with fresh_namespace():
        ip_here("link add d0 type dummy")
        subprocess.run(
            ["tc", "qdisc", "add", "dev", "d0", "root", "netem", "delay", "1ms", "loss", "1%"],
            check=True,
        )


def test_nftables_know_conntrack_nat_and_ipsec() -> None:
    with fresh_namespace():
        subprocess.run(["nft", "-f", "-"], input=RULESET, text=True, check=True)


def test_netdevsim_is_in_the_kernel_built_for_it() -> None:
    built = os.environ[GUEST_VARIABLE].startswith("uml-")  # Debian's packages leave it out
    assert Path("/sys/bus/netdevsim").is_dir() == built
