"""Where datagrams come from and go to."""

from dataclasses import field
from hashlib import sha1
from typing import NamedTuple

from plutino.ike.numbers import IKE_PORT
from plutino.model.policy import IpAddress
from plutino.model.wire_value import wire_value


class SocketAddress(NamedTuple):
    """An address with its UDP port in host order."""

    address: IpAddress
    port: int

    def __str__(self) -> str:
        text = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"{text}:{self.port}"


class Path(NamedTuple):
    """Our end and the peer's, as our packets bear them."""

    local: SocketAddress
    remote: SocketAddress

    @property
    def ends(self) -> tuple[IpAddress, IpAddress]:
        """Both addresses, ours first."""
        return self.local.address, self.remote.address


def first_path(local: IpAddress, remote: IpAddress, port: int = IKE_PORT) -> Path:
    """Where IKE_SA_INIT goes from and to."""
    return Path(SocketAddress(local, port), SocketAddress(remote, port))


@wire_value
class Datagram:
    """One UDP payload on its path, without the non-ESP marker, which the sockets' owner adds."""

    path: Path
    payload: bytes = field(repr=False)


def nat_detection(initiator_spi: bytes, responder_spi: bytes, at: SocketAddress) -> bytes:
    """The hash of NAT_DETECTION_SOURCE_IP and NAT_DETECTION_DESTINATION_IP (RFC 7296, 2.23)."""
    data = initiator_spi + responder_spi + at.address.packed + at.port.to_bytes(2, "big")
    return sha1(data, usedforsecurity=False).digest()


def is_unchanged(addresses: bytes, path: Path) -> bool:
    """Whether a packet came from and went to what its sender says (RFC 4555, 4.2.6)."""
    here, there = path
    ports = there.port.to_bytes(2, "big") + here.port.to_bytes(2, "big")
    return addresses == there.address.packed + here.address.packed + ports
