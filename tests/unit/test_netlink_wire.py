"""Framing: messages, attributes and what an acknowledgement says."""

import errno
import struct

import pytest

from plutino.model.errors import WireError
from plutino.netlink.wire import (
    NLM_F_ACK_TLVS,
    NLM_F_CAPPED,
    NLMSG_DONE,
    NLMSG_ERROR,
    NLMSGERR_ATTR_MSG,
    NLMSGERR_ATTR_OFFS,
    Acknowledgement,
    Attribute,
    Message,
    encode_attributes,
    parse_attributes,
    parse_messages,
)

HEADER = bytes(16)


def refusal(code: int, *attributes: Attribute, flags: int = NLM_F_CAPPED) -> Message:
    """NLMSG_ERROR as the kernel builds it, with a capped copy of the request."""
    payload = struct.pack("=i", -code) + HEADER + encode_attributes(attributes)
    return Message(NLMSG_ERROR, flags | (NLM_F_ACK_TLVS if attributes else 0), 1, 0, payload)


def test_attributes_are_padded_to_four_bytes() -> None:
    assert Attribute(3, b"ab").encode() == b"\x06\0\x03\0ab\0\0"
    assert parse_attributes(b"\x06\0\x03\0ab\0\0", what="x") == (Attribute(3, b"ab"),)


def test_the_last_padding_may_be_missing() -> None:
    assert parse_attributes(b"\x06\0\x03\0ab", what="x") == (Attribute(3, b"ab"),)


def test_flags_of_a_type_are_no_part_of_its_number() -> None:
    assert Attribute(0x8005, b"").number == 5


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (b"\x06\0\x03", "truncated"),
        (b"\x03\0\x03\0", "below 4"),
        (b"\x09\0\x03\0abcd", "past the end"),
    ],
)
def test_wrong_lengths_are_named(octets: bytes, words: str) -> None:
    with pytest.raises(WireError, match=words):
        parse_attributes(octets, what="x")


def test_two_messages_in_a_datagram() -> None:
    messages = (Message(0x10, 5, 1, 0, b"abc"), Message(0x11, 5, 2, 0, b""))
    assert parse_messages(b"".join(message.encode() for message in messages)) == messages


@pytest.mark.parametrize("length", [0, 15, 21, 0xFFFFFFFF])
def test_a_message_length_that_does_not_fit(length: int) -> None:
    with pytest.raises(WireError):
        parse_messages(struct.pack("=IHHII", length, 16, 0, 0, 0) + b"abcd")


def test_a_refusal_with_its_words_and_place() -> None:
    message = refusal(
        errno.EINVAL,
        Attribute(NLMSGERR_ATTR_MSG, b"Unsupported protocol\0"),
        Attribute(NLMSGERR_ATTR_OFFS, struct.pack("=I", 40)),
    )
    assert Acknowledgement.parse(message) == Acknowledgement(
        errno.EINVAL, "Unsupported protocol", 40
    )


def test_an_uncapped_refusal_holds_the_whole_request() -> None:
    request = Message(0x10, 5, 1, 0, b"abcde").encode()
    words = encode_attributes([Attribute(NLMSGERR_ATTR_MSG, b"no\0")])
    payload = struct.pack("=i", -errno.EPERM) + request + words
    message = Message(NLMSG_ERROR, NLM_F_ACK_TLVS, 1, 0, payload)
    assert Acknowledgement.parse(message) == Acknowledgement(errno.EPERM, "no")


def test_an_ack_and_the_end_of_a_dump() -> None:
    assert Acknowledgement.parse(refusal(0)) == Acknowledgement(0)
    assert Acknowledgement.parse(Message(NLMSG_DONE, 2, 1, 0, bytes(4))) == Acknowledgement(0)


def test_no_payload_in_repr() -> None:
    assert "secret" not in repr(Message(0x10, 0, 0, 0, b"secret"))
    assert "secret" not in repr(Attribute(1, b"secret"))
