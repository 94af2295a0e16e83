"""Several gateways on one host, and a container whose only way out is the tunnel."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest

from plutino.config.static_keys import encode_keys, generate_pair
from plutino.lab.demo import BERLIN, INNER, OUTER, PARIS
from plutino.lab.hosts import Host
from plutino.lab.namespaces import NetworkNamespace
from plutino.lab.traffic import ping
from tests.support.lab import Pair, running_pair
from tests.support.multihomed_lab import run
from tests.support.until import until

pytestmark = pytest.mark.root

GREEN = {PARIS: "10.255.9.0", BERLIN: "10.255.9.1"}


def add_instance(host: Host, peer: str) -> Path:
    """A second gateway file of a host, with an instance name of its own."""
    file = host.folder / "green.toml"
    (first, *_) = host.file.read_text().splitlines()
    file.write_text(
        f'{first}\ninstance = "green"\n[tunnels.{peer}]\ninterface = "ipsec9"\n'
        f'local = "{OUTER[6][host.name]}"\nremote = "{OUTER[6][peer]}"\n'
        f'addresses = ["{GREEN[host.name]}/31"]\nroutes = ["{OUTER[6][peer]}/128"]\n'
        'static.key-file = "green.keys"\n'
    )
    return file


@contextmanager
def two_gateways(plane: str) -> Iterator[Pair]:
    with running_pair(plane=plane) as pair:
        for host, keys in zip((pair.paris, pair.berlin), generate_pair(os.urandom), strict=True):
            key_file = host.folder / "green.keys"
            key_file.touch(mode=0o600)
            key_file.write_text(encode_keys(keys, used_at=host.name, peer="green"))
        try:
            for host, peer in ((pair.paris, BERLIN), (pair.berlin, PARIS)):
                done = host.plutino("apply", add_instance(host, peer))
                assert done.returncode == 0, done.stderr
            yield pair
        finally:
            for host in (pair.paris, pair.berlin):
                host.plutino("down", "--instance", "green")


def passes(pair: Pair, address: str) -> bool:
    return ping(pair.paris.namespace, ip_address(address))[0] == 3


def test_two_instances_in_one_namespace_leave_each_other_alone(plane: str) -> None:
    with two_gateways(plane) as pair:
        assert passes(pair, INNER[BERLIN][0])
        assert passes(pair, GREEN[BERLIN])
        assert passes(pair, OUTER[6][BERLIN])
        assert pair.paris.plutino("apply", pair.paris.file).stdout == "nothing to do\n"
        green = pair.paris.folder / "green.toml"
        assert pair.paris.plutino("apply", green).stdout == "nothing to do\n"
        rules = run(pair.paris.namespace, "ip -6 rule show")
        assert rules.count("134") >= 1
        done = pair.paris.plutino("down", "--instance", "green")
        assert done.returncode == 0, done.stderr
        assert passes(pair, INNER[BERLIN][0])
        shown = run(pair.paris.namespace, "ip link") + run(pair.paris.namespace, "ip -6 rule show")
        assert "ipsec9" not in shown
        assert "134" not in run(pair.paris.namespace, "ip -6 rule show")
        pair.assert_nothing_in_clear()


def test_each_namespace_of_a_host_has_its_own_gateway_and_clear_side(
    plane: str, tmp_path: Path
) -> None:
    """Both gateways give their clear side to the same third namespace."""
    shared = NetworkNamespace.create()
    name = tmp_path / "shared"
    name.symlink_to(f"/proc/{os.getpid()}/fd/{shared.fileno()}")
    with running_pair(plane=plane, start=False) as pair:
        for host, number in ((pair.paris, 1), (pair.berlin, 2)):
            text = host.file.read_text().replace('"ipsec1"', f'"ipsec{number}"')
            text += f'\n[interfaces.ipsec{number}]\nnamespace = "{name}"\n'
            text = f'instance = "{host.name}"\n{text}'
            host.file.write_text(re.sub(r"^addresses = .*$", "", text, flags=re.M))
            done = host.plutino("apply", host.file)
            assert done.returncode == 0, done.stderr
        links = run(shared, "ip -brief link")
        assert "ipsec1" in links
        assert "ipsec2" in links
        assert pair.paris.plutino("down", pair.paris.file).returncode == 0
        links = run(shared, "ip -brief link")
        assert "ipsec1" not in links
        assert "ipsec2" in links
        assert pair.berlin.plutino("down", pair.berlin.file).returncode == 0
        assert "ipsec" not in run(shared, "ip -brief link")
    shared.close()


@pytest.fixture
def container(tmp_path: Path) -> Iterator[tuple[NetworkNamespace, Path]]:
    box = NetworkNamespace.create()
    name = tmp_path / "box"
    name.symlink_to(f"/proc/{os.getpid()}/fd/{box.fileno()}")
    run(box, "ip link set lo up")
    yield box, name
    box.close()


def test_a_container_has_no_way_out_but_the_tunnel(
    plane: str, container: tuple[NetworkNamespace, Path]
) -> None:
    box, name = container
    beyond = {4: "203.0.113.9", 6: "2001:db8:9::9"}
    with running_pair(plane=plane, start=False) as pair:
        text = re.sub(
            r"^routes = .*$",
            'routes = ["0.0.0.0/0", "::/0"]',
            pair.paris.file.read_text(),
            flags=re.M,
        )
        pair.paris.file.write_text(f'{text}\n[interfaces.ipsec1]\nnamespace = "{name}"\n')
        for address in beyond.values():
            run(pair.berlin.namespace, f"ip address add {address} dev lo")
        for host in (pair.paris, pair.berlin):
            host.start_daemon()
        for host in (pair.paris, pair.berlin):
            host.wait_until_up()
        for address in beyond.values():
            assert ping(box, ip_address(address))[0] == 3
        assert ping(pair.paris.namespace, ip_address(beyond[4]), count=1, timeout=0.2)[0] == 0
        run(box, "ip link del ipsec1")
        until(lambda: ping(box, ip_address(beyond[4]), count=1)[0] == 1, "it is back")
        until(lambda: ping(box, ip_address(beyond[6]), count=1)[0] == 1, "it is back")
        assert pair.paris.plutino("down").returncode == 0
        assert ping(box, ip_address(beyond[4]), count=1, timeout=0.2)[0] == 0
        pair.assert_nothing_in_clear()
