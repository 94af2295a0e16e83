"""What the IKE process tells arrives as it was, and what is not of its kind is refused."""

import json
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plutino.ike.path import Datagram, Path, SocketAddress
from plutino.ike_process.framing import LONGEST, Frames, frame
from plutino.ike_process.outcome import (
    AwaitedSa,
    IkeSaState,
    Notice,
    NoticeKind,
    OcspQuery,
    Outcome,
    SavedState,
    decode_outcome,
    encode_outcome,
)
from plutino.model.algorithms import AeadKey, SaKeys, SeparateKeys
from plutino.model.child_sa import ChildSa
from plutino.model.errors import WireError
from plutino.model.numbers import Spi
from plutino.model.policy import Mode
from plutino.model.proposal import Algorithm
from plutino.model.sa import UdpEncapsulation
from plutino.model.secret import Secret
from plutino.model.traffic import NetworkSelector

AEAD = AeadKey("rfc4106(gcm(aes))", Secret(b"k" * 36), 128)
SEPARATE = SeparateKeys("cbc(aes)", Secret(b"\xff" * 32), "hmac(sha256)", Secret(b"i" * 32), 128)


def child(keys: SaKeys, address: str, udp: UdpEncapsulation | None) -> ChildSa:
    version = ip_address(address).version
    everything = ip_network("0.0.0.0/0" if version == 4 else "::/0")
    return ChildSa(
        tunnel="berlin",
        local=ip_address(address),
        remote=ip_address(address) + 1,
        spi_in=Spi(0xFFFFFFFF),
        spi_out=Spi(256),
        keys_in=keys,
        keys_out=keys,
        local_ts=(NetworkSelector(everything),),
        remote_ts=(NetworkSelector(ip_network("fd00::/64"), 6, 443, 0xFFFF),),
        mode=Mode.BEET,
        esn=True,
        outbound=False,
        encapsulation=udp,
    )


FULL = Outcome(
    datagrams=(
        Datagram(
            Path(
                SocketAddress(ip_address("192.0.2.1"), 500),
                SocketAddress(ip_address("192.0.2.2"), 65535),
            ),
            bytes(range(256)),
        ),
        Datagram(
            Path(
                SocketAddress(ip_address("fd00::1"), 4500),
                SocketAddress(ip_address("fd00::2"), 4500),
            ),
            b"",
        ),
    ),
    children={
        "berlin": (
            child(AEAD, "192.0.2.1", None),
            child(SEPARATE, "fd00::1", UdpEncapsulation(4500, 1024)),
        ),
        "gone": (),
    },
    saved=(SavedState("berlin", b"12345678", b"\0\xff"), SavedState("gone", b"abcdefgh", None)),
    awaited=(
        AwaitedSa("berlin", ip_address("192.0.2.1"), ip_address("192.0.2.2"), 256, udp=False),
        AwaitedSa("berlin", ip_address("fd00::1"), ip_address("fd00::2"), 0xFFFFFFFF, udp=True),
    ),
    unheard=("berlin", "rome"),
    questions=(OcspQuery("berlin", "http://ocsp.example/", b"\0\xff"),),
    notices=(Notice(NoticeKind.UP, "berlin"), Notice(NoticeKind.REFUSED, "", "no proposal")),
    ike_sas={
        "berlin": IkeSaState(
            is_up=True,
            is_initiator=False,
            initiator_spi=b"12345678",
            responder_spi=b"\xff" * 8,
            since=12.5,
            suite=(Algorithm(1, 20, 256), Algorithm(4, 31)),
            esp=(),
        ),
        "gone": None,
    },
    key_lines=("0102,0304",),
    answered=7,
    open=3,
)


@pytest.mark.parametrize("outcome", [Outcome(), FULL])
def test_it_arrives_as_it_was(outcome: Outcome) -> None:
    assert decode_outcome(encode_outcome(outcome)) == outcome


@given(st.binary() | st.text().map(str.encode))
def test_anything_else_is_refused(octets: bytes) -> None:
    with pytest.raises(WireError):
        decode_outcome(octets)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("datagrams", 0, "remote", 1), 65536),
        (("datagrams", 0, "remote", 0), "name.example"),
        (("datagrams", 0, "payload"), 5),
        (("children", "berlin", 0, "spis", 0), 1 << 32),
        (("children", "berlin", 0, "keys", 0), ["name", 5, 128]),
        (("children", "berlin", 0, "keys", 0, 2), -1),
        (("children", "berlin", 0, "mode"), 9),
        (("children", "berlin", 0, "ports"), [4500, 65536]),
        (("children", "berlin", 0, "local_ts", 0, 0), "192.0.2.1/24"),
        (("children", "berlin", 0, "local_ts", 0, 1), 256),
        (("children", "berlin", 0, "local_ts", 0, 3), 65536),
        (("saved", 0, "spi"), None),
        (("awaited", 0, "spi"), 255),
        (("awaited", 1, "spi"), 1 << 32),
        (("awaited", 0, "local"), "name.example"),
        (("questions", 0, "url"), 5),
        (("notices", 0, "kind"), "else"),
        (("answered",), "many"),
    ],
)
def test_a_value_of_another_kind_is_refused(place: tuple[str | int, ...], value: object) -> None:
    document = inner = json.loads(encode_outcome(FULL))
    *way, last = place
    for step in way:
        inner = inner[step]
    inner[last] = value
    with pytest.raises(WireError) as caught:
        decode_outcome(json.dumps(document).encode())
    assert "kkkk" not in str(caught.value)


@given(st.lists(st.binary(max_size=40), max_size=8), st.integers(1, 9))
def test_messages_come_out_of_a_stream_however_it_is_cut(messages: list[bytes], cut: int) -> None:
    stream = b"".join(map(frame, messages))
    frames = Frames()
    found: list[bytes] = []
    for place in range(0, len(stream), cut):
        found += frames.feed(stream[place : place + cut])
    assert found == messages


def test_a_message_that_would_fill_the_memory_is_refused() -> None:
    with pytest.raises(WireError):
        list(Frames().feed((LONGEST + 1).to_bytes(4, "big")))
