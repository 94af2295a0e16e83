"""Requests about SAs as a test writes them, and a conversation with one engine."""

from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from plutino.dataplane.engine_client import EngineClient
from plutino.model.errors import KernelError
from plutino.model.secret import Secret
from plutino.netlink.socket import NetlinkSocket
from plutino.netlink.wire import NLM_F_DUMP
from plutino.netlink.xfrm.attributes import AeadAlgorithm, Algorithm, AuthAlgorithm, ReplayEsn
from plutino.netlink.xfrm.constants import Group, MessageType, SaFlag, Xfrma
from plutino.netlink.xfrm.messages import XfrmMessage
from plutino.netlink.xfrm.structures import (
    UNLIMITED,
    AlgorithmHeader,
    AuthHeader,
    EncapTemplate,
    ReplayEsnHeader,
    UserSaId,
    UserSaInfo,
    XfrmId,
    XfrmSelector,
)

LOCAL, REMOTE, ELSEWHERE = (
    ip_address(text).packed + bytes(12) for text in ("192.0.2.1", "198.51.100.2", "203.0.113.3")
)
NLM_F_REPLACE = 0x100
AEAD = AeadAlgorithm.of("rfc4106(gcm(aes))", Secret(bytes(range(20))), 128)
ENCAP = EncapTemplate(2, 4500, 4500, bytes(16))
INFO = UserSaInfo(
    sel=XfrmSelector(),
    id=XfrmId(REMOTE, 0x1000, 50),
    saddr=LOCAL,
    lft=UNLIMITED,
    reqid=7,
    family=2,
    mode=1,
    flags=SaFlag.AF_UNSPEC,
)
ID = UserSaId(REMOTE, 0x1000, 2, 50)
Attributes = tuple[tuple[int, Any], ...]


def crypt(name: str, octets: int) -> Algorithm:
    return Algorithm(AlgorithmHeader(name, octets * 8), Secret(bytes(octets)))


def auth(name: str, octets: int, bits: int) -> AuthAlgorithm:
    return AuthAlgorithm(AuthHeader(name, octets * 8, bits), Secret(b"\1" * octets))


def esn(window: int, words: int, oseq: int = 0, seq: int = 0) -> ReplayEsn:
    low, high = 0xFFFFFFFF, 32
    header = ReplayEsnHeader(words, oseq & low, seq & low, oseq >> high, seq >> high, window)
    return ReplayEsn(header, (0,) * words)


ONE = ((Xfrma.ALG_AEAD, AEAD),)
OUT, IN = ((Xfrma.SA_DIR, 2),), ((Xfrma.SA_DIR, 1),)
SEPARATE = (
    (Xfrma.ALG_CRYPT, crypt("cbc(aes)", 16)),
    (Xfrma.ALG_AUTH_TRUNC, auth("hmac(sha256)", 32, 128)),
)


class Engine:
    """Messages to one engine."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = NetlinkSocket.engine(path)

    def ask(
        self, kind: MessageType, fixed: Any, attributes: Attributes = (), flags: int = 0
    ) -> tuple[XfrmMessage, ...]:
        payload = XfrmMessage.build(kind, fixed, attributes).encode()
        replies = self.socket.request(kind.name, kind, payload, flags=flags)
        return tuple(XfrmMessage.parse(reply) for reply in replies)

    def add(
        self, info: UserSaInfo = INFO, attributes: Attributes = ((Xfrma.ALG_AEAD, AEAD),)
    ) -> None:
        self.ask(MessageType.NEWSA, info, attributes)

    def get(self, name: UserSaId = ID, attributes: Attributes = ()) -> XfrmMessage:
        (reply,) = self.ask(MessageType.GETSA, name, attributes)
        return reply

    def dump(self, attributes: Attributes = ()) -> tuple[XfrmMessage, ...]:
        message = XfrmMessage.build(MessageType.GETSA, None, attributes)
        payload = replace(message, is_dump=True).encode()
        replies = self.socket.request("dump", MessageType.GETSA, payload, flags=NLM_F_DUMP)
        return tuple(map(XfrmMessage.parse, replies))

    def listen(self, *groups: Group) -> NetlinkSocket:
        client = EngineClient(self.path)
        client.join(sum(group.bit for group in groups))
        return client.socket

    def refused(
        self, kind: MessageType, fixed: Any, attributes: Attributes = (), flags: int = 0
    ) -> tuple[int, str | None]:
        with pytest.raises(KernelError) as caught:
            self.ask(kind, fixed, attributes, flags)
        return caught.value.errno, caught.value.extack


def heard(socket: NetlinkSocket) -> XfrmMessage:
    (message,) = socket.receive(5)
    return XfrmMessage.parse(message)
