"""The codec against bytes that iproute2 sends: recorded ones, and this machine's own."""

import shlex
import subprocess
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from plutino.model.algorithms import AeadKey
from plutino.model.numbers import IfId, Mark, ReqId, Spi
from plutino.model.policy import Direction, Policy, Selector, Template
from plutino.model.sa import ReplayState, SaDirection, SecurityAssociation
from plutino.model.secret import Secret
from plutino.netlink.wire import Message, parse_messages
from plutino.netlink.xfrm.constants import MessageType, Xfrma
from plutino.netlink.xfrm.convert import parse_policy, parse_sa, policy_message
from plutino.netlink.xfrm.messages import FORMS, XfrmMessage
from plutino.netlink.xfrm.structures import LifetimeConfig, UserSaInfo
from tests.support.namespace import fresh_namespace
from tests.support.netlink_recorder import NetlinkRecorder

VECTORS = Path(__file__).parents[1] / "vectors" / "xfrm" / "iproute2-6.1.0.txt"


def recorded() -> list[tuple[str, bytes]]:
    """Command and datagram, in the order of the file."""
    lines = [line for line in VECTORS.read_text().splitlines() if line and line[0] != "#"]
    return [
        (command.removeprefix("$ "), bytes.fromhex(octets))
        for command, octets in zip(lines[::2], lines[1::2], strict=True)
    ]


SENT = dict(recorded())


def message_of(start: str) -> XfrmMessage:
    """The message of the one command that contains the words."""
    (octets,) = (octets for command, octets in SENT.items() if start in command)
    return XfrmMessage.parse(parse_messages(octets)[0])


@pytest.mark.parametrize("command", SENT)
def test_what_iproute2_sends_comes_out_the_same(command: str) -> None:
    (message,) = parse_messages(SENT[command])
    parsed = XfrmMessage.parse(message)
    again = Message(message.type, message.flags, 0, 0, parsed.encode())
    assert again.encode()[: len(SENT[command])] == SENT[command]
    assert all(attribute.number in FORMS[parsed.kind].attributes for attribute in parsed.attributes)


def test_an_sa_of_iproute2_is_read_as_it_was_told() -> None:
    pair = parse_sa(message_of("spi 0x1001"))
    assert pair is not None
    keymat = bytes.fromhex("0001020304050607080910111213141516171819")
    assert pair[0] == SecurityAssociation(
        spi=Spi(0x1001),
        source=ip_address("192.0.2.1"),
        destination=ip_address("198.51.100.2"),
        reqid=ReqId(7),
        if_id=IfId(5),
        keys=AeadKey("rfc4106(gcm(aes))", Secret(keymat), 128),
        direction=SaDirection.IN,
        output_mark=Mark(0x10, 0xFF),
        esn=True,
        replay=ReplayState(window=128),
    )


def test_sequence_numbers_above_32_bits() -> None:
    pair = parse_sa(message_of("spi 0x1007"))
    assert pair is not None
    replay = pair[0].replay
    assert (replay.oseq, replay.seq, replay.window) == (2 << 32 | 6, 1 << 32 | 5, 256)


def test_lifetimes() -> None:
    fixed = message_of("spi 0x1005").fixed
    assert isinstance(fixed, UserSaInfo)
    assert fixed.lft == LifetimeConfig(1000, 2000, 10, 20, 30, 40, 50, 60)


def test_marks_of_an_sa_that_is_not_ours() -> None:
    message = message_of("spi 0x1004")
    assert parse_sa(message) is None
    assert any(attribute.number == Xfrma.MARK for attribute in message.attributes)


def test_our_policy_says_what_iproute2_says() -> None:
    """Every octet equal, but for lifetimes: iproute2 leaves those of a policy at no limit too."""
    theirs = message_of("policy add src 10.1.0.0/16 dst 10.2.0.0/16 dir out")
    policy = Policy(
        direction=Direction.OUT,
        selector=Selector(ip_network("10.1.0.0/16"), ip_network("10.2.0.0/16")),
        if_id=IfId(5),
        templates=(Template(ip_address("192.0.2.1"), ip_address("198.51.100.2"), ReqId(7)),),
        priority=1000,
        mark=Mark(0x10, 0xF0),
    )
    ours = policy_message(policy)
    assert parse_policy(theirs) == policy
    assert ours.kind is theirs.kind is MessageType.NEWPOLICY
    assert ours.fixed == theirs.fixed
    assert set(ours.attributes) == {
        attribute for attribute in theirs.attributes if attribute.number != Xfrma.POLICY_TYPE
    }


@pytest.mark.root
def test_this_machines_iproute2_is_understood(tmp_path: Path) -> None:
    recorder = NetlinkRecorder(tmp_path)
    version = subprocess.run(["ip", "-V"], check=True, capture_output=True, text=True).stdout
    with fresh_namespace():
        for command, octets in SENT.items():
            (sent,) = recorder.sent_by(shlex.split(command))
            (message,) = parse_messages(sent)
            parsed = XfrmMessage.parse(message)
            assert (
                Message(message.type, 0, 0, 0, parsed.encode()).encode()[16:][: len(sent) - 16]
                == sent[16:]
            )
            if "iproute2-6.1.0" in version:
                assert sent[:8] + bytes(8) + sent[16:] == octets
