"""What an IKE process that was taken over could ask for, and does not get."""

from dataclasses import replace
from ipaddress import ip_address

import pytest
from pydantic import TypeAdapter

from plutino.config.load import load_text
from plutino.config.selectors import TrafficSelector
from plutino.config.tunnel import Tunnel
from plutino.daemon.ike_peers import is_allowed
from plutino.model.algorithms import AeadKey
from plutino.model.child_sa import ChildSa
from plutino.model.numbers import Spi
from plutino.model.policy import Mode
from plutino.model.secret import Secret
from plutino.model.traffic import NetworkSelector
from tests.support.gateways import gateway_text

NARROW = 'local-ts = ["10.1.0.0/16", "fd00::/64"]\nremote-ts = ["10.2.0.0/16", "fd01::/64"]'
L2TP = 'mode = "transport"\nremote-ts = ["0.0.0.0/0[udp/1701]"]'
WEB = 'local-ts = ["10.1.0.0/16[tcp]"]\nremote-ts = ["10.2.0.0/16[tcp/400-500]"]'
KEY = AeadKey("rfc4106(gcm(aes))", Secret(b"k" * 36), 128)


def tunnel(more: str) -> Tunnel:
    return load_text(gateway_text(more), "gateway.toml").tunnels["berlin"]


def selector(text: str) -> NetworkSelector:
    return TypeAdapter[NetworkSelector](TrafficSelector).validate_python(text)


def child(local: str, remote: str, mode: Mode = Mode.TUNNEL) -> ChildSa:
    return ChildSa(
        tunnel="berlin",
        local=ip_address("192.0.2.1"),
        remote=ip_address("198.51.100.2"),
        spi_in=Spi(256),
        spi_out=Spi(257),
        keys_in=KEY,
        keys_out=KEY,
        local_ts=(selector(local),),
        remote_ts=(selector(remote),),
        mode=mode,
    )


@pytest.mark.parametrize(
    ("more", "wanted", "allowed"),
    [
        ("", child("0.0.0.0/0", "0.0.0.0/0"), True),
        ("", child("::/0", "fd00::/8"), True),
        ("", child("0.0.0.0/0", "0.0.0.0/0", Mode.BEET), False),
        (NARROW, child("10.1.0.0/16", "10.2.5.0/24"), True),
        (NARROW, child("fd00::/65", "fd01::/64"), True),
        (NARROW, child("10.0.0.0/15", "10.2.0.0/16"), False),
        (NARROW, child("10.1.0.0/16", "10.3.0.0/24"), False),
        (NARROW, child("10.1.0.0/16", "::/0"), False),
        (
            'mode = "transport"',
            child("192.0.2.1/32", "198.51.100.2/32", Mode.TRANSPORT),
            True,
        ),
        ('mode = "transport"', child("192.0.2.1/32", "198.51.100.3/32", Mode.TRANSPORT), False),
        (L2TP, child("192.0.2.1/32", "198.51.100.2/32[udp/1701]", Mode.TRANSPORT), True),
        (L2TP, child("192.0.2.1/32", "198.51.100.2/32", Mode.TRANSPORT), False),
    ],
)
def test_selectors_and_mode_are_within_the_file(
    more: str, wanted: ChildSa, *, allowed: bool
) -> None:
    assert is_allowed(tunnel(more), wanted) == allowed


def test_one_of_nothing_ends_no_pass() -> None:
    """BEET's SAs have their addresses from it, and a pass would find none."""
    beet = 'mode = "beet"\nlocal-ts = ["10.1.0.1/32"]\nremote-ts = ["10.2.0.1/32"]'
    wanted = child("10.1.0.1/32", "10.2.0.1/32", Mode.BEET)
    assert is_allowed(tunnel(beet), wanted)
    assert not is_allowed(tunnel(beet), replace(wanted, local_ts=()))
    assert not is_allowed(tunnel(beet), replace(wanted, remote_ts=()))
    assert not is_allowed(tunnel(beet), replace(wanted, remote=ip_address("2001:db8::2")))


@pytest.mark.parametrize(
    ("more", "local", "remote", "allowed"),
    [
        (NARROW, "10.1.0.0/16[tcp/443]", "10.2.5.0/24", True),
        (NARROW, "10.0.0.0/8[tcp/443]", "10.2.0.0/16", False),
        (WEB, "10.1.0.0/16[tcp]", "10.2.0.0/16[tcp/443]", True),
        (WEB, "10.1.0.0/16[tcp]", "10.2.0.0/16[tcp/400-501]", False),
        (WEB, "10.1.0.0/16[tcp]", "10.2.0.0/16[tcp/399-500]", False),
        (WEB, "10.1.0.0/16", "10.2.0.0/16[tcp/443]", False),
        (WEB, "10.1.0.0/16[udp]", "10.2.0.0/16[udp/443]", False),
    ],
)
def test_protocols_and_ports_are_within_the_file(
    more: str, local: str, remote: str, *, allowed: bool
) -> None:
    assert is_allowed(tunnel(more), child(local, remote)) == allowed


def test_no_more_policies_than_ike_would_agree_upon() -> None:
    """Ranges of ports make up to 30 each, and each of one side goes with each of the other."""
    wide = selector("10.1.0.0/16[tcp/1-65534]"), selector("10.2.0.0/16[tcp/1-65534]")
    wanted = replace(child("10.1.0.0/16", "10.2.0.0/16"), local_ts=wide[:1], remote_ts=wide[1:])
    assert is_allowed(tunnel(""), wanted)
    assert not is_allowed(tunnel(""), replace(wanted, local_ts=(*wide[:1], *wide[:1])))
    networks = [f"10.{number}.0.0/16[tcp/1-65534]" for number in (1, 2, 3)]
    several = ", ".join(f'"{one}"' for one in networks)
    more = f'local-ts = [{several}]\nremote-ts = ["10.2.0.0/16[tcp/1-65534]"]\n'
    wanted = replace(wanted, local_ts=tuple(map(selector, networks)))
    assert is_allowed(tunnel(more), wanted), "as many as the file has"
