"""Settings of others that are told: which count, where, and with what cure."""

from collections.abc import Mapping

import pytest

from plutino.config.gateway import Gateway
from plutino.config.load import load_text
from plutino.desired.setting_checks import (
    ReadSetting,
    settings_in_the_way,
    settings_worth_a_look,
)
from plutino.model.link import Namespace
from tests.support.gateways import another_tunnel, gateway_text

PLAIN = load_text(gateway_text(), "gateway.toml")
VTI = load_text(
    gateway_text(
        'local-ts = ["0.0.0.0/0"]\nremote-ts = ["0.0.0.0/0"]',
        tables='[interfaces.ipsec1]\nkind = "vti"',
    ),
    "gateway.toml",
)
ECMP = load_text(
    gateway_text()
    + another_tunnel("rome", "203.0.113.1", interface="ipsec2")
    + '[groups.site]\nprobe.kind = "none"\nmode = "ecmp"\n'
    + 'tunnels = ["berlin", "rome"]\nroutes = ["10.2.0.0/16"]\n',
    "gateway.toml",
)


def read(settings: Mapping[str, str], of: Namespace = None) -> ReadSetting:
    """One namespace with these settings; all others are off."""
    return lambda namespace, key: settings.get(key, "0") if namespace == of else None


@pytest.mark.parametrize(
    ("gateway", "setting", "told"),
    [
        (PLAIN, "ipv4/conf/ipsec1/disable_policy", "sysctl net.ipv4.conf.ipsec1.disable_policy=0"),
        (PLAIN, "ipv6/conf/all/disable_policy", "sysctl net.ipv6.conf.all.disable_policy=0"),
        (PLAIN, "ipv4/conf/eth0/disable_policy", None),
        (PLAIN, "ipv4/conf/all/disable_xfrm", None),
        (VTI, "ipv4/conf/all/disable_xfrm", "sysctl net.ipv4.conf.all.disable_xfrm=0"),
        (VTI, "ipv4/conf/ipsec1/disable_policy", None),
    ],
)
def test_what_is_in_the_way(gateway: Gateway, setting: str, told: str | None) -> None:
    found = settings_in_the_way(gateway, read({setting: "1"}))
    assert len(found) == (told is not None)
    assert all(f"`{told}`" in words for words in found)


def test_what_the_file_asks_for_is_not_told() -> None:
    tables = "[devices.ipsec1]\ndisable-policy = true\nforwarding = false"
    gateway = load_text(gateway_text(tables=tables), "gateway.toml")
    assert not settings_in_the_way(gateway, read({"ipv4/conf/ipsec1/disable_policy": "1"}))
    assert not settings_worth_a_look(gateway, read({}))


def test_it_is_read_where_the_interface_is() -> None:
    tables = '[interfaces.ipsec1]\nnamespace = "blue"'
    gateway = load_text(gateway_text(tables=tables), "gateway.toml")
    setting = {"ipv4/conf/all/disable_policy": "1"}
    assert not settings_in_the_way(gateway, read(setting))
    assert settings_in_the_way(gateway, read(setting, "blue"))


def test_a_shared_group_wants_ports_in_the_hash() -> None:
    forwarding = {
        f"{family}/conf/{one}/forwarding": "1"
        for family in ("ipv4", "ipv6")
        for one in ("ipsec1", "ipsec2")
    }
    told = settings_worth_a_look(ECMP, read(forwarding))
    assert [
        f"net.{family}.fib_multipath_hash_policy=1" in words
        for family, words in zip(("ipv4", "ipv6"), told, strict=True)
    ] == [True, True]
    ports = {f"{family}/fib_multipath_hash_policy": "1" for family in ("ipv4", "ipv6")}
    assert not settings_worth_a_look(ECMP, read(forwarding | ports))
