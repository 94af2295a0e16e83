"""The sockets that ESP travels through, opened where the daemon runs.

They are handed to the engine; for the kernel, which needs them for ESP in UDP alone, a process
holds them (``held_sockets.py``).
"""

import errno
import socket
from enum import IntEnum
from ipaddress import ip_address
from typing import Final

from plutino.model.errors import KernelError
from plutino.model.policy import Action, Direction
from plutino.model.sa import NAT_T_PORT, Encapsulation
from plutino.netlink.xfrm.structures import UNLIMITED, XfrmSelector
from plutino.netlink.xfrm.structures_policy import UserPolicyInfo

_IPPROTO_ESP: Final = 50
_UDP_ENCAP: Final = 100
_UDP_ENCAP_ESPINUDP: Final = 2
"""``linux/udp.h``."""
_SO_NETNS_COOKIE: Final = 71
"""``asm-generic/socket.h``."""
_IP_XFRM_POLICY: Final = 17
_IPV6_XFRM_POLICY: Final = 35
"""``linux/in.h``, ``linux/in6.h``: a policy of one socket."""


class SocketKind(IntEnum):
    """``SOCK_KIND`` of docs/engine-protocol.md."""

    RAW_V4 = 1
    RAW_V6 = 2
    UDP_V4 = 3
    UDP_V6 = 4

    @classmethod
    def of(cls, encapsulation: Encapsulation, version: int) -> "SocketKind":
        """The socket for an encapsulation and the IP version of the outer addresses."""
        if encapsulation is Encapsulation.UDP:
            return cls.UDP_V4 if version == 4 else cls.UDP_V6
        return cls.RAW_V4 if version == 4 else cls.RAW_V6

    @property
    def words(self) -> str:
        """For messages."""
        is_udp = self in (SocketKind.UDP_V4, SocketKind.UDP_V6)
        is_v4 = self in (SocketKind.RAW_V4, SocketKind.UDP_V4)
        what = f"UDP port {NAT_T_PORT}" if is_udp else "raw ESP socket"
        return f"{what} for IPv{4 if is_v4 else 6}"


UDP_KINDS: Final = frozenset({SocketKind.UDP_V4, SocketKind.UDP_V6})


def open_socket(kind: SocketKind) -> socket.socket:
    """A socket of that kind in the current namespace, bound where it must be.

    Raises KernelError, with a hint where the port is taken or the right is missing.
    """
    family = _family(kind)
    is_udp = kind in UDP_KINDS
    step = f"open {kind.words}"
    try:
        opened = (
            socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            if is_udp
            else socket.socket(family, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _IPPROTO_ESP)
        )
    except OSError as error:
        raise KernelError(step, error.errno or errno.EIO, hint=_hint(error)) from error
    try:
        if is_udp:
            if family == socket.AF_INET6:
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            opened.bind(("", NAT_T_PORT))
    except OSError as error:
        opened.close()
        raise KernelError(step, error.errno or errno.EIO, hint=_hint(error)) from error
    return opened


def open_encapsulation(kind: SocketKind) -> socket.socket:
    """A UDP socket whose ESP the kernel takes to itself (UDP_ENCAP_ESPINUDP).

    Without one the kernel answers the peer's ESP in UDP with `port unreachable` and drops it.
    Raises KernelError as ``open_socket``.
    """
    opened = open_socket(kind)
    try:
        opened.setsockopt(socket.IPPROTO_UDP, _UDP_ENCAP, _UDP_ENCAP_ESPINUDP)
        bypass_policies(opened)
    except OSError as error:
        opened.close()
        step = f"take ESP in UDP for IPv{4 if kind is SocketKind.UDP_V4 else 6}"
        raise KernelError(step, error.errno or errno.EIO, hint=_hint(error)) from error
    return opened


def bypass_policies(opened: socket.socket) -> None:
    """What the socket itself sends and gets goes past the SPD, as IKE daemons have it.

    The kernel asks its policies about ESP in UDP before it decrypts it (``udp_queue_rcv_one_skb``):
    a policy default that blocks, or a transport policy between the peers, would drop all of it.
    """
    is_v6 = opened.family == socket.AF_INET6
    level, option = (
        (socket.IPPROTO_IPV6, _IPV6_XFRM_POLICY) if is_v6 else (socket.IPPROTO_IP, _IP_XFRM_POLICY)
    )
    selector = XfrmSelector(family=opened.family)
    for direction in (Direction.IN, Direction.OUT):
        policy = UserPolicyInfo(sel=selector, lft=UNLIMITED, dir=direction, action=Action.ALLOW)
        opened.setsockopt(level, option, policy.encode())


def is_encapsulation(one: socket.socket, kind: SocketKind) -> bool:
    """Whether a socket is as ``open_encapsulation`` makes it in the current namespace."""
    if kind not in UDP_KINDS or one.type != socket.SOCK_DGRAM:
        return False
    try:
        host, port = one.getsockname()[:2]
        return (
            one.family == _family(kind)
            and port == NAT_T_PORT
            and ip_address(host).is_unspecified
            and one.getsockopt(socket.IPPROTO_UDP, _UDP_ENCAP) == _UDP_ENCAP_ESPINUDP
            and _namespace(one) == _current_namespace(one.family)
        )
    except (OSError, ValueError):
        return False


def _family(kind: SocketKind) -> socket.AddressFamily:
    return socket.AF_INET if kind in (SocketKind.RAW_V4, SocketKind.UDP_V4) else socket.AF_INET6


def _current_namespace(family: int) -> bytes:
    with socket.socket(family, socket.SOCK_DGRAM) as one:
        return _namespace(one)


def _namespace(one: socket.socket) -> bytes:
    """A number of its network namespace that no other ever has."""
    try:
        return one.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8)
    except OSError:
        return b""  # Linux before 5.14


def _hint(error: OSError) -> str | None:
    if error.errno == errno.EADDRINUSE:
        return (
            f"another program has UDP port {NAT_T_PORT} (an IKE daemon such as charon or pluto, or "
            'another instance of plutino): stop it, or use encapsulation = "esp"'
        )
    if error.errno in (errno.EPERM, errno.EACCES):
        return "run as root, or with CAP_NET_ADMIN and CAP_NET_RAW"
    return None
