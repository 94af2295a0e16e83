"""Settings of devices: set where the file asks, healed, and as before when all is taken away."""

import pytest

from plutino.lab.hosts import Host
from tests.support.lab import Pair, running_pair
from tests.support.multihomed_lab import run
from tests.support.until import until

pytestmark = pytest.mark.root

DEVICES = """
[devices.wire]
rp-filter = "loose"
src-valid-mark = true
accept-local = true
forwarding = true
[devices.ipsec1]
forwarding = true
disable-policy = false
[devices.nowhere]
rp-filter = "off"
"""
WANTED = {
    "net.ipv4.conf.wire.rp_filter": "2",
    "net.ipv4.conf.wire.src_valid_mark": "1",
    "net.ipv4.conf.wire.accept_local": "1",
    "net.ipv4.conf.wire.forwarding": "1",
    "net.ipv6.conf.wire.forwarding": "1",
    "net.ipv4.conf.ipsec1.forwarding": "1",
    "net.ipv4.conf.ipsec1.disable_policy": "0",
}
OF_WIRE = [key for key in WANTED if ".wire." in key]


def settings(host: Host, keys: list[str]) -> dict[str, str]:
    return {key: run(host.namespace, f"sysctl -n {key}").strip() for key in keys}


def with_devices(pair: Pair) -> None:
    pair.paris.file.write_text(f"{pair.paris.file.read_text()}{DEVICES}")


def test_they_are_set_and_put_back(plane: str) -> None:
    with running_pair(plane=plane, start=False) as pair:
        before = settings(pair.paris, OF_WIRE)
        assert before != {key: WANTED[key] for key in OF_WIRE}
        with_devices(pair)
        done = pair.paris.plutino("apply", pair.paris.file)
        assert done.returncode == 0, done.stderr
        assert "update sysctl net.ipv4.conf.wire.rp_filter=2 (it differs)" in done.stdout
        assert settings(pair.paris, list(WANTED)) == WANTED
        assert pair.paris.plutino("apply", pair.paris.file).stdout == "nothing to do\n"
        text = pair.paris.file.read_text().replace('rp-filter = "loose"\n', "")
        pair.paris.file.write_text(text)
        assert pair.paris.plutino("apply", pair.paris.file).returncode == 0
        key = "net.ipv4.conf.wire.rp_filter"
        assert settings(pair.paris, [key])[key] == before[key]
        assert pair.paris.plutino("down").returncode == 0
        assert settings(pair.paris, OF_WIRE) == before


def test_they_are_put_back_after_a_crash_too(plane: str) -> None:
    with running_pair(plane=plane, start=False) as pair:
        before = settings(pair.paris, OF_WIRE)
        with_devices(pair)
        pair.paris.start_daemon()
        pair.paris.wait_until_up()
        assert pair.paris.daemon is not None
        pair.paris.daemon.kill()
        pair.paris.daemon.wait()
        assert pair.paris.plutino("down").returncode == 0
        assert settings(pair.paris, OF_WIRE) == before


def test_what_others_change_is_healed(plane: str) -> None:
    with running_pair(plane=plane, start=False) as pair:
        with_devices(pair)
        pair.paris.start_daemon()
        pair.paris.wait_until_up()
        run(pair.paris.namespace, "sysctl -qw net.ipv4.conf.wire.rp_filter=1")
        run(pair.paris.namespace, "ip link set ipsec1 mtu 1300")  # is heard, other than a sysctl
        until(
            lambda: settings(pair.paris, list(WANTED)) == WANTED,
            "it is as the file says",
            seconds=20,
        )
        words = "healed: update sysctl net.ipv4.conf.wire.rp_filter=2"
        until(lambda: words in pair.paris.log.read_text(), "it is told")


def test_what_takes_the_check_off_is_told(plane: str) -> None:
    """The engine checks whatever the setting says."""
    with running_pair(plane=plane) as pair:
        run(pair.paris.namespace, "sysctl -qw net.ipv4.conf.all.disable_policy=1")
        words = "disable_policy is on: IPv4 packets out of ipsec1 pass the SPD unchecked"
        run(pair.paris.namespace, "ip link set ipsec1 mtu 1300")  # wakes the daemon
        if plane == "kernel":
            until(lambda: words in pair.paris.plutino("status").stdout, "status tells it")
        doctor = pair.paris.plutino("doctor", pair.paris.file).stdout
        assert (f"in the way of {pair.paris.file}: {words}" in doctor) == (plane == "kernel")
        assert "note: forwarding is off: what comes out of ipsec1" in doctor
        run(pair.paris.namespace, "sysctl -qw net.ipv4.conf.all.disable_policy=0")
        for family in ("ipv4", "ipv6"):
            run(pair.paris.namespace, f"sysctl -qw net.{family}.conf.ipsec1.forwarding=1")
        doctor = pair.paris.plutino("doctor", pair.paris.file).stdout
        assert "in the way" not in doctor
        assert "note:" not in doctor
