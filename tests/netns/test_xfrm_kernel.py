"""What this machine's kernel makes of our XFRM messages, in a namespace of the test's own."""

import errno
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from plutino.model.algorithms import AeadKey
from plutino.model.errors import BatchRefusedError, KernelError
from plutino.model.numbers import IfId, Mark, ReqId, Spi
from plutino.model.policy import (
    Action,
    Default,
    Direction,
    Mode,
    Policy,
    PolicyDefaults,
    Selector,
    Template,
)
from plutino.model.sa import SaDirection, SecurityAssociation
from plutino.model.secret import Secret
from plutino.netlink.socket import BATCH, NETLINK_XFRM, NetlinkSocket
from plutino.netlink.xfrm.constants import Group, MessageType
from plutino.netlink.xfrm.convert import parse_policy
from plutino.netlink.xfrm.messages import XfrmMessage
from plutino.netlink.xfrm_client import XfrmClient
from tests.support.namespace import fresh_namespace

pytestmark = pytest.mark.root

TEMPLATE = Template(ip_address("192.0.2.1"), ip_address("198.51.100.2"), ReqId(7))
TEMPLATE6 = Template(
    ip_address("2001:db8::1"), ip_address("2001:db8::2"), ReqId(8), Mode.TRANSPORT, optional=True
)

TRANSPORT = replace(TEMPLATE, reqid=ReqId(9), mode=Mode.TRANSPORT)


def policy(**changes: object) -> Policy:
    """A policy of if_id 5 with what a test changes."""
    values: dict[str, object] = {
        "direction": Direction.OUT,
        "selector": Selector(ip_network("10.1.0.0/16"), ip_network("10.2.0.0/16")),
        "if_id": IfId(5),
        "templates": (TEMPLATE,),
        "priority": 1000,
    }
    return Policy(**(values | changes))  # type: ignore[arg-type]


POLICIES = (
    policy(),
    policy(direction=Direction.IN),
    policy(direction=Direction.FWD, mark=Mark(0x10, 0xF0)),
    policy(if_id=IfId(0xFFFFFFFF), templates=(TEMPLATE, TRANSPORT), priority=0),
    policy(if_id=IfId(0), templates=(), action=Action.BLOCK),
    policy(
        selector=Selector(
            ip_network("2001:db8:1::/48"),
            ip_network("::/0"),
            protocol=17,
            source_port=500,
            source_port_mask=0xFFFF,
            destination_port=0x1100,
            destination_port_mask=0xFF00,
        ),
        templates=(TEMPLATE6,),
    ),
)


@pytest.fixture
def client() -> Iterator[XfrmClient]:
    """A client of the kernel in an empty namespace."""
    with fresh_namespace(), NetlinkSocket.kernel(NETLINK_XFRM) as socket:
        yield XfrmClient(socket)


@pytest.mark.parametrize("one", POLICIES)
def test_a_policy_comes_back_as_it_was_added(client: XfrmClient, one: Policy) -> None:
    client.add_policy(one)
    assert client.list_policies() == (one,)
    client.delete_policy(one)
    assert client.list_policies() == ()


def test_ip_xfrm_reads_our_policy_as_we_meant_it(client: XfrmClient) -> None:
    client.add_policy(policy(mark=Mark(0x10, 0xF0)))
    shown = subprocess.run(
        ["ip", "-s", "xfrm", "policy"], check=True, capture_output=True, text=True
    ).stdout
    for words in (
        "src 10.1.0.0/16 dst 10.2.0.0/16",
        "dir out action allow",
        "priority 1000",
        "mark 0x10/0xf0",
        "if_id 0x5",
        "tmpl src 192.0.2.1 dst 198.51.100.2",
        "proto esp spi 0x00000000(0) reqid 7(0x00000007) mode tunnel",
        "limit: soft (INF)(bytes), hard (INF)(bytes)",
    ):
        assert words in re.sub(r"\s+", " ", shown)


def test_we_read_what_ip_xfrm_adds(client: XfrmClient) -> None:
    command = (
        "ip xfrm policy add src 10.1.0.0/16 dst 10.2.0.0/16 dir out priority 1000 "
        "mark 0x10 mask 0xf0 if_id 5 tmpl src 192.0.2.1 dst 198.51.100.2 proto esp reqid 7 "
        "mode tunnel"
    )
    subprocess.run(command.split(), check=True)
    assert client.list_policies() == (policy(mark=Mark(0x10, 0xF0)),)


def test_update_replaces_and_the_same_again_is_refused(client: XfrmClient) -> None:
    client.add_policy(policy())
    client.update_policy(policy(priority=1))
    assert client.list_policies() == (policy(priority=1),)
    with pytest.raises(KernelError) as refused:
        client.add_policy(policy())
    assert refused.value.errno == errno.EEXIST
    assert "out policy 10.1.0.0/16 -> 10.2.0.0/16 of if_id 5" in str(refused.value)


def test_a_policy_of_another_if_id_is_not_deleted(client: XfrmClient) -> None:
    client.add_policy(policy())
    with pytest.raises(KernelError) as refused:
        client.delete_policy(policy(if_id=IfId(6)))
    assert refused.value.errno == errno.ENOENT
    assert client.list_policies() == (policy(),)


def test_many_policies_in_batches(client: XfrmClient) -> None:
    many = {
        policy(
            selector=Selector(ip_network(f"10.{n >> 8}.{n & 255}.0/24"), ip_network("0.0.0.0/0"))
        )
        for n in range(1000)
    }
    client.add_policies(list(many))
    assert set(client.list_policies()) == many
    assert client.spd_info().outcnt == 1000


def test_a_batch_names_what_was_refused(client: XfrmClient) -> None:
    bad = policy(selector=Selector(ip_network("10.9.0.0/16"), ip_network("10.2.0.0/16")))
    client.add_policy(bad)
    with pytest.raises(KernelError) as refused:
        client.add_policies([policy(), bad, policy(direction=Direction.IN)])
    assert "10.9.0.0/16" in refused.value.step
    assert len(client.list_policies()) == 3


def test_what_was_refused_of_several_datagrams_is_told_by_its_place(client: XfrmClient) -> None:
    many = [
        policy(selector=Selector(ip_network(f"10.{n}.0.0/16"), ip_network("0.0.0.0/0")))
        for n in range(200)
    ]
    taken = (0, BATCH - 1, BATCH, 3 * BATCH - 1, 199)
    client.add_policies([many[place] for place in taken])
    with pytest.raises(BatchRefusedError) as error:
        client.add_policies(many)
    steps = {place: why.step for place, why in error.value.refused.items()}
    assert steps == {n: f"add out policy 10.{n}.0.0/16 -> 0.0.0.0/0 of if_id 5" for n in taken}
    assert {why.errno for why in error.value.refused.values()} == {errno.EEXIST}
    assert set(client.list_policies()) == set(many)


def test_defaults(client: XfrmClient) -> None:
    client.set_default(PolicyDefaults(outbound=Default.BLOCK))
    assert client.get_default() == PolicyDefaults(Default.ACCEPT, Default.ACCEPT, Default.BLOCK)
    client.set_default(PolicyDefaults(inbound=Default.BLOCK, outbound=Default.ACCEPT))
    assert client.get_default() == PolicyDefaults(Default.BLOCK, Default.ACCEPT, Default.ACCEPT)


def test_an_empty_sad(client: XfrmClient) -> None:
    assert client.sad_info().count == 0
    assert client.list_sas() == ()


def test_a_refusal_bears_the_kernels_words(client: XfrmClient) -> None:
    """Tunnel mode 9 exists nowhere: the words come from the kernel, not from errno."""
    sa = SecurityAssociation(
        spi=Spi(0x1000),
        source=ip_address("192.0.2.1"),
        destination=ip_address("198.51.100.2"),
        reqid=ReqId(7),
        if_id=IfId(5),
        keys=AeadKey("rfc4106(gcm(aes))", Secret(bytes(range(36))), 128),
        direction=SaDirection.OUT,
        protocol=17,
    )
    with pytest.raises(KernelError) as refused:
        client.add_sa(sa)
    assert refused.value.errno == errno.EINVAL
    assert refused.value.extack == "Unsupported protocol"
    assert str(refused.value) == (
        "add SA 0x00001000 to 198.51.100.2: Unsupported protocol (EINVAL)"
    )


def test_policies_are_announced(client: XfrmClient) -> None:
    with NetlinkSocket.kernel(NETLINK_XFRM, groups=Group.POLICY.bit) as events:
        client.add_policy(policy())
        (message,) = events.receive(5)
        added = XfrmMessage.parse(message)
        assert added.kind is MessageType.NEWPOLICY
        assert parse_policy(added) == policy()
        client.delete_policy(policy())
        (message,) = events.receive(5)
        assert XfrmMessage.parse(message).kind is MessageType.DELPOLICY
        assert events.receive(0) == ()
