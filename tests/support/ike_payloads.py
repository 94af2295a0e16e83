"""A payload of IKEv2 of each kind."""

from ipaddress import IPv4Address, IPv6Address

from plutino.ike.numbers import PayloadType
from plutino.ike.payloads.generic import NoncePayload, OpaquePayload, Payload
from plutino.ike.payloads.identification import AuthPayload, CertPayload, CertReqPayload, IdPayload
from plutino.ike.payloads.key_exchange import KePayload
from plutino.ike.payloads.notify import DeletePayload, NotifyPayload
from plutino.ike.payloads.proposal import Proposal, SaPayload, Transform
from plutino.ike.payloads.traffic_selector import TrafficSelector, TsPayload, UnknownSelector

PAYLOADS: list[Payload] = [
    SaPayload(
        (
            Proposal(1, 1, b"", (Transform(1, 20, 256), Transform(2, 5), Transform(4, 31))),
            Proposal(2, 3, b"\1\2\3\4", (Transform(1, 12, 128, ((0x8001, b"\0\1"),)),)),
        )
    ),
    KePayload(31, bytes(range(32))),
    NoncePayload(bytes(range(32))),
    NotifyPayload(16393, b"", 3, b"\1\2\3\4"),
    NotifyPayload(16390, b"cookie"),
    DeletePayload(1),
    DeletePayload.of_children([b"\1\2\3\4", b"\5\6\7\x08"]),
    IdPayload(PayloadType.ID_I, 2, b"paris.example"),
    IdPayload(PayloadType.ID_R, 1, b"\xc0\0\2\1", b"\1\2\3"),
    AuthPayload(2, b"proof"),
    CertPayload(4, b"certificate"),
    CertReqPayload(4, bytes(40)),
    TsPayload(
        PayloadType.TS_I,
        (
            TrafficSelector(IPv4Address("10.0.0.0"), IPv4Address("10.0.0.255"), 6, 80, 443),
            UnknownSelector(9, b"\0\0\x08abcd"),
        ),
    ),
    TsPayload(PayloadType.TS_R, (TrafficSelector(IPv6Address("::"), IPv6Address("::ffff")),)),
    OpaquePayload(43, False, b"who made this"),
]
