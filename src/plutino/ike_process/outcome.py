"""What the IKE process tells the daemon, as JSON: each value is checked, and none is code.

The process may have been taken over by whoever it talks to. So nothing of what it says can do more
than what IKE can do: send datagrams, have CHILD_SAs installed, files of its own kept, and, where
the gateway file wants OCSP, responders asked.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Base64Bytes, Field, TypeAdapter, ValidationError

from plutino.ike.path import Datagram, Path, SocketAddress
from plutino.model.algorithms import AeadKey, SaKeys, SeparateKeys
from plutino.model.child_sa import ChildSa
from plutino.model.errors import WireError
from plutino.model.numbers import Spi
from plutino.model.policy import IpAddress, IpNetwork, Mode
from plutino.model.proposal import Algorithm
from plutino.model.sa import UdpEncapsulation
from plutino.model.secret import Secret
from plutino.model.traffic import NetworkSelector


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

    peer: str
    url: str
    request: Base64Bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SavedState:
    """An IKE SA as it has to be kept; None: it is no longer."""

    peer: str
    spi: Base64Bytes
    octets: Base64Bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class IkeSaState:
    """The IKE SA of a peer, for `status`; ``since`` in seconds of the monotonic clock."""

    is_up: bool
    is_initiator: bool
    initiator_spi: Base64Bytes
    responder_spi: Base64Bytes
    since: float
    suite: tuple[Algorithm, ...]
    esp: tuple[Algorithm, ...]


_WireAddress = tuple[IpAddress, int]
_Port = Annotated[int, Field(ge=0, le=0xFFFF)]
_WireSelector = tuple[IpNetwork, Annotated[int, Field(ge=0, le=0xFF)], _Port, _Port]
_Bits = Annotated[int, Field(ge=0, le=512)]
_WireKeys = tuple[str, Base64Bytes, _Bits] | tuple[str, Base64Bytes, str, Base64Bytes, _Bits]


@dataclass(frozen=True, slots=True)
class _WireDatagram:
    local: _WireAddress
    remote: _WireAddress
    payload: Base64Bytes


@dataclass(frozen=True, slots=True)
class _WireChild:
    tunnel: str
    local: IpAddress
    remote: IpAddress
    spis: tuple[int, int]
    keys: tuple[_WireKeys, _WireKeys]
    local_ts: tuple[_WireSelector, ...]
    remote_ts: tuple[_WireSelector, ...]
    mode: Mode
    esn: bool
    outbound: bool
    ports: tuple[_Port, _Port] | None


@dataclass(frozen=True, slots=True)
class _Wire:
    datagrams: list[_WireDatagram]
    children: dict[str, list[_WireChild]]
    saved: list[SavedState]
    questions: list[OcspQuery]
    notices: list[Notice]
    ike_sas: dict[str, IkeSaState | None]
    key_lines: list[str]
    answered: int
    open: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that has come of what was told, heard and due.

    First ``saved`` is kept, then ``children`` (all of each peer that has others than before) are
    installed, and only then go the ``datagrams``. ``key_lines`` are for Wireshark, ``answered`` is
    the number of the last question, ``open`` counts the IKE SAs that have not ended.
    """

    datagrams: tuple[Datagram, ...] = ()
    children: dict[str, tuple[ChildSa, ...]] = field(default_factory=dict)
    saved: tuple[SavedState, ...] = ()
    questions: tuple[OcspQuery, ...] = ()
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
            _WireDatagram((*one.path.local,), (*one.path.remote,), one.payload)
            for one in outcome.datagrams
        ],
        children={
            peer: [_encode_child(one) for one in several]
            for peer, several in outcome.children.items()
        },
        saved=list(outcome.saved),
        questions=list(outcome.questions),
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
                Datagram(Path(_address(one.local), _address(one.remote)), one.payload)
                for one in wire.datagrams
            ),
            children={
                peer: tuple(map(_decode_child, several)) for peer, several in wire.children.items()
            },
            saved=tuple(wire.saved),
            questions=tuple(wire.questions),
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


def _address(wire: _WireAddress) -> SocketAddress:
    address, port = wire
    if not 0 < port < 1 << 16:
        raise ValueError
    return SocketAddress(address, port)


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
        local=child.local,
        remote=child.remote,
        spis=(int(child.spi_in), int(child.spi_out)),
        keys=(_encode_keys(child.keys_in), _encode_keys(child.keys_out)),
        local_ts=tuple(map(_encode_selector, child.local_ts)),
        remote_ts=tuple(map(_encode_selector, child.remote_ts)),
        mode=child.mode,
        esn=child.esn,
        outbound=child.outbound,
        ports=None if udp is None else (udp.source_port, udp.destination_port),
    )


def _decode_child(wire: _WireChild) -> ChildSa:
    return ChildSa(
        tunnel=wire.tunnel,
        local=wire.local,
        remote=wire.remote,
        spi_in=Spi(wire.spis[0]),
        spi_out=Spi(wire.spis[1]),
        keys_in=_decode_keys(wire.keys[0]),
        keys_out=_decode_keys(wire.keys[1]),
        local_ts=tuple(NetworkSelector(*one) for one in wire.local_ts),
        remote_ts=tuple(NetworkSelector(*one) for one in wire.remote_ts),
        mode=wire.mode,
        esn=wire.esn,
        outbound=wire.outbound,
        encapsulation=None if wire.ports is None else UdpEncapsulation(*wire.ports),
    )


def _encode_selector(one: NetworkSelector) -> _WireSelector:
    return one.network, one.protocol, one.first_port, one.last_port
