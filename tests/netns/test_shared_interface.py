"""Two peers behind one interface, and what the sender of a packet without an SA is told."""

import os
import re
import select
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from plutino.config.static_keys import encode_keys, generate_pair
from plutino.dataplane.engine_client import EngineClient
from plutino.lab.demo import BERLIN, INNER, NETWORKS, OUTER, PARIS
from plutino.lab.hosts import WIRE, Host
from plutino.lab.traffic import ping
from plutino.model.numbers import IfId, ReqId, Spi
from plutino.model.policy import Direction, Policy, Selector
from plutino.model.sa import SaDirection, SecurityAssociation
from plutino.netlink.xfrm_client import XfrmClient
from tests.support.lab import Pair, running_pair

pytestmark = pytest.mark.root

SECOND_OUTER = "192.0.2.3"
SECOND_INNER = {PARIS: "10.255.1.0", BERLIN: "10.255.1.1"}
SECOND_NETWORK = "10.255.1.0/31"
UNREACHABLE = {4: (3, 1), 6: (1, 3)}
"""Host unreachable; address unreachable."""


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Paris and Berlin with their files; no daemon yet."""
    with running_pair(start=False) as one:
        yield one


def xfrm(host: Host) -> XfrmClient:
    return XfrmClient(EngineClient(host.engine_socket).socket)


def add_second_tunnel(host: Host, interface: str, ends: tuple[str, str], address: str) -> None:
    """A tunnel to the second peer, with traffic selectors that hold its network alone."""
    text = host.file.read_text()
    if interface == "ipsec1":
        # Who shares an interface must say which packets are whose.
        networks = ("10.255.0.0/31", "fd00:1::/127", *NETWORKS[BERLIN])
        remote_ts = ", ".join(f'"{network}"' for network in networks)
        text = text.replace("encapsulation =", f"remote-ts = [{remote_ts}]\nencapsulation =")
    local, remote = ends
    host.file.write_text(
        f'''{text}
[tunnels.second]
interface = "{interface}"
local = "{local}"
remote = "{remote}"
addresses = ["{address}/31"]
local-ts = ["{SECOND_NETWORK}"]
remote-ts = ["{SECOND_NETWORK}"]
static = {{ key-file = "second.keys" }}
'''
    )


def test_two_peers_behind_one_interface(pair: Pair) -> None:
    """Berlin is two peers, each with an outer address and an interface of its own."""
    paris, berlin = pair.paris, pair.berlin
    for host, keys in zip((paris, berlin), generate_pair(os.urandom), strict=True):
        key_file = host.folder / "second.keys"
        key_file.touch(mode=0o600)
        key_file.write_text(encode_keys(keys, used_at=host.name, peer="second"))
    ends = OUTER[4][PARIS], SECOND_OUTER
    add_second_tunnel(paris, "ipsec1", ends, SECOND_INNER[PARIS])
    add_second_tunnel(berlin, "ipsec2", ends[::-1], SECOND_INNER[BERLIN])
    with berlin.namespace.entered():
        subprocess.run(["ip", "address", "add", f"{SECOND_OUTER}/24", "dev", WIRE], check=True)
    for host in (paris, berlin):
        done = host.plutino("apply", host.file)
        assert done.returncode == 0, done.stderr

    def packets() -> dict[str, int]:
        """Sent by Paris, by outer destination."""
        return {
            str(sa.destination): use.packets
            for sa, use in xfrm(paris).list_sas()
            if sa.direction is SaDirection.OUT
        }

    for inner, outer in ((INNER[BERLIN][0], OUTER[4][BERLIN]), (SECOND_INNER[BERLIN], ends[1])):
        before = packets()
        assert ping(paris.namespace, ip_address(inner))[0] == 3
        sent = {peer: count - before[peer] for peer, count in packets().items()}
        assert sent == {**dict.fromkeys(before, 0), outer: 3}
    pair.assert_nothing_in_clear()


def unreachable_from(host: Host, destination: str) -> tuple[int, int]:
    """Type and code of the ICMP error that a packet to an address brings."""
    version = ip_address(destination).version
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    level, option = (
        (socket.IPPROTO_IP, 11) if version == 4 else (socket.IPPROTO_IPV6, 25)
    )  # IP_RECVERR, IPV6_RECVERR
    with host.namespace.entered(), socket.socket(family, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(level, option, 1)
        sender.connect((destination, 9))
        sender.send(b"anybody there?")
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            poll = select.poll()
            poll.register(sender, select.POLLERR)
            if poll.poll(100):
                _, control, _, _ = sender.recvmsg(512, 512, socket.MSG_ERRQUEUE)
                _, _, error = control[0]
                return error[5], error[6]
    raise AssertionError("no ICMP error came")


@pytest.mark.parametrize("version", [4, 6])
def test_a_packet_without_an_sa_is_answered_and_counted(pair: Pair, version: int) -> None:
    paris = pair.paris
    assert paris.plutino("apply", paris.file).returncode == 0
    target = INNER[BERLIN][0 if version == 4 else 1]
    client = xfrm(paris)
    for sa, _ in client.list_sas():
        client.delete_sa(sa)
    assert unreachable_from(paris, target) == UNREACHABLE[version]
    status = paris.plutino("status")
    assert status.returncode == 1
    assert re.search(r"\b[1-9]\d* x XfrmOutNoStates", status.stdout), status.stdout
    pair.assert_nothing_in_clear()


def test_sas_and_policies_of_others_stay(pair: Pair) -> None:
    paris = pair.paris
    assert paris.plutino("apply", paris.file).returncode == 0
    client = xfrm(paris)
    sa = next(sa for sa, _ in client.list_sas() if sa.direction.name == "OUT")
    foreign: SecurityAssociation = replace(
        sa, spi=Spi(0xABCDEF), reqid=ReqId(7), if_id=IfId(7), output_mark=None
    )
    selector = Selector(ip_network("10.7.0.0/16"), ip_network("10.8.0.0/16"))
    policy = Policy(Direction.OUT, selector, IfId(7), ())
    client.add_sa(foreign)
    client.add_policy(policy)
    assert paris.plutino("apply", paris.file).stdout == "nothing to do\n"
    done = paris.plutino("down")
    assert done.returncode == 0
    assert "not plutino's" in done.stderr
    assert [one.reqid for one, _ in client.list_sas()] == [7]
    assert client.list_policies() == (policy,)
    client.delete_sa(foreign)
    client.delete_policy(policy)
    assert paris.plutino("down").returncode == 0
    assert not paris.engine_socket.exists()
