"""What the IKE process tells the daemon, as JSON: each value is checked, and none is code.

The process may have been taken over by whoever it talks to. So nothing of what it says can do more
than what IKE can do: send datagrams, have CHILD_SAs installed, files of its own kept, and, where
the gateway file wants OCSP, responders asked.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Annotated, ClassVar, Final

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from plutino.ike.path import Datagram, Path, SocketAddress
from plutino.model.algorithms import AeadKey, SaKeys, SeparateKeys
from plutino.model.child_sa import ChildSa
from plutino.model.errors import WireError
from plutino.model.numbers import SPI_RESERVED, U32_MAX, Spi
from plutino.model.policy import IpAddress, Mode
from plutino.model.proposal import Algorithm
from plutino.model.sa import NAT_T_PORT, UdpEncapsulation
from plutino.model.secret import Secret
from plutino.model.traffic import NetworkSelector

_OCTETS: Final = ConfigDict(val_json_bytes="base64", ser_json_bytes="base64")
"""How octets stand in JSON."""


class NoticeKind(StrEnum):
    """Of what the log and `status` are told."""

    UP = "up"
    ENDED = "ended"
    REFUSED = "refused"
    NOT_ADOPTED = "not-adopted"


@dataclass(frozen=True, slots=True)
class Notice:
    """An IKE SA came or ended, an exchange failed; ``peer`` is empty for strangers."""

    kind: NoticeKind
    peer: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class OcspQuery:
    """What a responder is to be asked about a certificate of the peer, and where it is."""

    __pydantic_config__: ClassVar = _OCTETS
    peer: str
    url: str
    request: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class AwaitedSa:
    """An inbound SA that the peer may send by before we have its keys; ``udp``: at port 4500."""

    peer: str
    local: IpAddress
    remote: IpAddress
    spi: Annotated[int, Field(gt=SPI_RESERVED, le=U32_MAX)]
    udp: bool

    @property
    def path(self) -> Path:
        """That of its packets; the peer's port is another behind a NAT, and means nothing here."""
        return Path(SocketAddress(self.local, NAT_T_PORT), SocketAddress(self.remote, NAT_T_PORT))


@dataclass(frozen=True, slots=True)
class SavedState:
    """An IKE SA as it has to be kept; None: it is no longer."""

    __pydantic_config__: ClassVar = _OCTETS
    peer: str
    spi: bytes
    octets: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class IkeSaState:
    """The IKE SA of a peer, for `status`; ``since`` in seconds of the monotonic clock."""

    __pydantic_config__: ClassVar = _OCTETS
    is_up: bool
    is_initiator: bool
    initiator_spi: bytes
    responder_spi: bytes
    since: float
    suite: tuple[Algorithm, ...]
    esp: tuple[Algorithm, ...]


_MOST_REMEMBERED: Final = 1 << 14
"""Addresses and prefixes that were read before; those of a tunnel come again with each message."""
_WireAddress = tuple[str, int]
_Port = Annotated[int, Field(ge=0, le=0xFFFF)]
_WireSelector = tuple[str, Annotated[int, Field(ge=0, le=0xFF)], _Port, _Port]
_Bits = Annotated[int, Field(ge=0, le=512)]
_WireKeys = tuple[str, bytes, _Bits] | tuple[str, bytes, str, bytes, _Bits]


@dataclass(slots=True)
class _WireDatagram:
    __pydantic_config__: ClassVar = _OCTETS
    local: _WireAddress
    remote: _WireAddress
    payload: bytes


@dataclass(slots=True)
class _WireChild:
    __pydantic_config__: ClassVar = _OCTETS
    tunnel: str
    local: str
    remote: str
    spis: tuple[int, int]
    keys: tuple[_WireKeys, _WireKeys]
    local_ts: list[_WireSelector]
    remote_ts: list[_WireSelector]
    mode: Mode
    esn: bool
    outbound: bool
    ports: tuple[_Port, _Port] | None


@dataclass(slots=True)
class _Wire:
    datagrams: list[_WireDatagram]
    children: dict[str, list[_WireChild]]
    saved: list[SavedState]
    awaited: list[AwaitedSa]
    questions: list[OcspQuery]
    unheard: list[str]
    notices: list[Notice]
    ike_sas: dict[str, IkeSaState | None]
    key_lines: list[str]
    answered: int
    open: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that has come of what was told, heard and due.

    First ``saved`` is kept, then ``children`` (all of each peer that has others than before) are
    installed, ESP for what is ``awaited`` is expected, and only then go the ``datagrams``.
    ``unheard`` are the peers whose ESP counts, since nothing else came of them (``NoteUse``).
    ``key_lines`` are for Wireshark, ``answered`` is the number of the last question, ``open``
    counts the IKE SAs that have not ended.
    """

    datagrams: tuple[Datagram, ...] = ()
    children: dict[str, tuple[ChildSa, ...]] = field(default_factory=dict)
    saved: tuple[SavedState, ...] = ()
    awaited: tuple[AwaitedSa, ...] = ()
    questions: tuple[OcspQuery, ...] = ()
    unheard: tuple[str, ...] = ()
    notices: tuple[Notice, ...] = ()
    ike_sas: dict[str, IkeSaState | None] = field(default_factory=dict)
    key_lines: tuple[str, ...] = field(default=(), repr=False)
    answered: int = 0
    open: int = 0


_ADAPTER: Final = TypeAdapter(_Wire)


def encode_outcome(outcome: Outcome) -> bytes:
    """As JSON."""
    wire = _Wire(
        datagrams=[
            _WireDatagram(
                _encode_address(one.path.local), _encode_address(one.path.remote), one.payload
            )
            for one in outcome.datagrams
        ],
        children={
            peer: [_encode_child(one) for one in several]
            for peer, several in outcome.children.items()
        },
        saved=list(outcome.saved),
        awaited=list(outcome.awaited),
        questions=list(outcome.questions),
        unheard=list(outcome.unheard),
        notices=list(outcome.notices),
        ike_sas=outcome.ike_sas,
        key_lines=list(outcome.key_lines),
        answered=outcome.answered,
        open=outcome.open,
    )
    return _ADAPTER.dump_json(wire)


def decode_outcome(octets: bytes) -> Outcome:
    """WireError where a value is not what it should be; the words hold none of it."""
    try:
        wire = _ADAPTER.validate_json(octets)
        return Outcome(
            datagrams=tuple(
                Datagram(Path(_decode_address(one.local), _decode_address(one.remote)), one.payload)
                for one in wire.datagrams
            ),
            children={
                peer: tuple(map(_decode_child, several)) for peer, several in wire.children.items()
            },
            saved=tuple(wire.saved),
            awaited=tuple(wire.awaited),
            questions=tuple(wire.questions),
            unheard=tuple(wire.unheard),
            notices=tuple(wire.notices),
            ike_sas=wire.ike_sas,
            key_lines=tuple(wire.key_lines),
            answered=wire.answered,
            open=wire.open,
        )
    except ValidationError as error:
        places = {".".join(map(str, one["loc"])) for one in error.errors(include_input=False)}
        raise WireError("outcome", offset=0, why=", ".join(sorted(places))) from None
    except ValueError:
        raise WireError("outcome", offset=0, why="a number is out of its range") from None


_address: Final = lru_cache(_MOST_REMEMBERED)(ip_address)
_network: Final = lru_cache(_MOST_REMEMBERED)(ip_network)
"""ValueError where the words are none."""


def _encode_address(one: SocketAddress) -> _WireAddress:
    return str(one.address), one.port


def _decode_address(wire: _WireAddress) -> SocketAddress:
    address, port = wire
    if not 0 < port < 1 << 16:
        raise ValueError
    return SocketAddress(_address(address), port)


def _encode_keys(keys: SaKeys) -> _WireKeys:
    if isinstance(keys, AeadKey):
        return keys.kernel_name, keys.keymat.reveal(), keys.icv_bits
    encryption, integrity = keys.encryption_key.reveal(), keys.integrity_key.reveal()
    return keys.encryption, encryption, keys.integrity, integrity, keys.icv_bits


def _decode_keys(wire: _WireKeys) -> SaKeys:
    if len(wire) == 3:
        return AeadKey(wire[0], Secret(wire[1]), wire[2])
    return SeparateKeys(wire[0], Secret(wire[1]), wire[2], Secret(wire[3]), wire[4])


def _encode_child(child: ChildSa) -> _WireChild:
    udp = child.encapsulation
    return _WireChild(
        tunnel=child.tunnel,
        local=str(child.local),
        remote=str(child.remote),
        spis=(int(child.spi_in), int(child.spi_out)),
        keys=(_encode_keys(child.keys_in), _encode_keys(child.keys_out)),
        local_ts=list(map(_encode_selector, child.local_ts)),
        remote_ts=list(map(_encode_selector, child.remote_ts)),
        mode=child.mode,
        esn=child.esn,
        outbound=child.outbound,
        ports=None if udp is None else (udp.source_port, udp.destination_port),
    )


def _decode_child(wire: _WireChild) -> ChildSa:
    return ChildSa(
        tunnel=wire.tunnel,
        local=_address(wire.local),
        remote=_address(wire.remote),
        spi_in=Spi(wire.spis[0]),
        spi_out=Spi(wire.spis[1]),
        keys_in=_decode_keys(wire.keys[0]),
        keys_out=_decode_keys(wire.keys[1]),
        local_ts=tuple(map(_decode_selector, wire.local_ts)),
        remote_ts=tuple(map(_decode_selector, wire.remote_ts)),
        mode=wire.mode,
        esn=wire.esn,
        outbound=wire.outbound,
        encapsulation=None if wire.ports is None else UdpEncapsulation(*wire.ports),
    )


def _encode_selector(one: NetworkSelector) -> _WireSelector:
    return str(one.network), one.protocol, one.first_port, one.last_port


def _decode_selector(wire: _WireSelector) -> NetworkSelector:
    network, *rest = wire
    return NetworkSelector(_network(network), *rest)
