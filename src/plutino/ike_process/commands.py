"""What the daemon tells the IKE process, and how it goes there.

This way, from the one that is trusted to the one that is not, values are pickled; the way back is
another matter (``outcome.py``). Secrets and keys refuse that, but for the one pickler here.
"""

import io
import pickle
from dataclasses import dataclass, field
from typing import Any, Final, get_args

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from plutino.ike.auth.ocsp import StatusQuestion
from plutino.ike.config import PeerConfig
from plutino.ike.esp_use import ChildUse
from plutino.ike.path import Path, SocketAddress
from plutino.model.policy import IpAddress
from plutino.model.private_key import PrivateKey
from plutino.model.secret import Secret


@dataclass(frozen=True, slots=True)
class SetPeers:
    """Who may connect from now on; IKE SAs with those that are configured otherwise are deleted."""

    peers: tuple[PeerConfig, ...]


@dataclass(frozen=True, slots=True)
class Adopt:
    """Go on with an IKE SA that was saved."""

    peer: str
    spi: bytes
    saved: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeepUp:
    """From now on the peer is connected by itself."""

    peer: str
    path: Path
    children: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Acquire:
    """Traffic wants a child that is not there."""

    peer: str
    child: str
    path: Path


@dataclass(frozen=True, slots=True)
class GoBy:
    """The path that a peer is to be reached by, and pairs of addresses that carry nothing."""

    peer: str
    path: Path
    lost: frozenset[tuple[IpAddress, IpAddress]]


@dataclass(frozen=True, slots=True)
class SetOwnAddresses:
    """Ours that a peer may use, the best first: those of uplinks that carry something."""

    peer: str
    addresses: tuple[IpAddress, ...]


@dataclass(frozen=True, slots=True)
class LetDown:
    """The peer's IKE SAs are deleted, and it is not connected again."""

    peer: str


@dataclass(frozen=True, slots=True)
class Rekey:
    """One of the two SAs of a CHILD_SA, of this SPI, is near its end."""

    spi: bytes


@dataclass(frozen=True, slots=True)
class FollowMapping:
    """Authentic ESP in UDP by the inbound SA of this SPI comes from elsewhere."""

    spi_in: bytes
    remote: SocketAddress


@dataclass(frozen=True, slots=True)
class NoteUse:
    """What has come by a peer's CHILD_SAs; none where the data plane cannot tell."""

    peer: str
    uses: tuple[ChildUse, ...]


@dataclass(frozen=True, slots=True)
class TakeAnswer:
    """What an OCSP responder has answered; empty where nothing came."""

    question: StatusQuestion
    response: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Ask:
    """Answered by this number once all that was told before is done."""

    number: int


Command = (
    SetPeers
    | Adopt
    | KeepUp
    | Acquire
    | GoBy
    | SetOwnAddresses
    | LetDown
    | Rekey
    | FollowMapping
    | NoteUse
    | TakeAnswer
    | Ask
)
_COMMANDS: Final = get_args(Command)


def encode_commands(commands: list[Command]) -> bytes:
    """For the IKE process alone: secrets are readable in it."""
    buffer = io.BytesIO()
    _Pickler(buffer, pickle.HIGHEST_PROTOCOL).dump(commands)
    return buffer.getvalue()


def decode_commands(octets: bytes) -> list[Command]:
    """What the daemon has told; it must come from there."""
    commands: list[Command] = pickle.loads(octets)  # noqa: S301 -- from the process that started us
    assert all(isinstance(one, _COMMANDS) for one in commands)
    return commands


class _Pickler(pickle.Pickler):
    def reducer_override(self, value: object) -> Any:
        if isinstance(value, Secret):
            return Secret, (value.reveal(),)
        if isinstance(value, x509.Certificate):
            return _certificate, (value.public_bytes(Encoding.DER),)
        if isinstance(value, x509.CertificateRevocationList):
            return _revocation_list, (value.public_bytes(Encoding.DER),)
        if isinstance(value, PrivateKey):
            octets = value.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
            return _private_key, (octets,)
        return NotImplemented


def _certificate(octets: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(octets)


def _revocation_list(octets: bytes) -> x509.CertificateRevocationList:
    return x509.load_der_x509_crl(octets)


def _private_key(octets: bytes) -> object:
    return load_der_private_key(octets, None)
