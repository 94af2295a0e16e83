"""The sockets that ESP travels through, opened where the daemon runs.

They are handed to the engine; for the kernel, which needs them for ESP in UDP alone, the daemon
holds them.
"""

import errno
import socket
from collections.abc import Iterable
from enum import IntEnum
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


def open_socket(kind: SocketKind) -> socket.socket:
    """A socket of that kind in the current namespace, bound where it must be.

    Raises KernelError, with a hint where the port is taken or the right is missing.
    """
    family = socket.AF_INET if kind in (SocketKind.RAW_V4, SocketKind.UDP_V4) else socket.AF_INET6
    is_udp = kind in (SocketKind.UDP_V4, SocketKind.UDP_V6)
    what = f"UDP port {NAT_T_PORT}" if is_udp else "raw ESP socket"
    step = f"open {what} for IPv{4 if family == socket.AF_INET else 6}"
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


class EncapsulationSockets:
    """UDP sockets whose ESP the kernel takes to itself (UDP_ENCAP_ESPINUDP), held by the daemon.

    Without one the kernel answers the peer's ESP in UDP with `port unreachable` and drops it, so a
    daemon that is gone means silence in that direction and never clear text.
    """

    def __init__(self) -> None:
        self._open: dict[SocketKind, socket.socket] = {}

    def hold(self, kinds: Iterable[SocketKind]) -> None:
        """Hold exactly the UDP sockets among ``kinds``. Raises KernelError as ``open_socket``."""
        wanted = set(kinds) & {SocketKind.UDP_V4, SocketKind.UDP_V6}
        for kind in set(self._open) - wanted:
            self._open.pop(kind).close()
        for kind in sorted(wanted - set(self._open)):
            self._open[kind] = _open_encapsulation(kind)

    def close(self) -> None:
        """Let go of all of them."""
        self.hold(())


def _open_encapsulation(kind: SocketKind) -> socket.socket:
    opened = open_socket(kind)
    try:
        opened.setsockopt(socket.IPPROTO_UDP, _UDP_ENCAP, _UDP_ENCAP_ESPINUDP)
        _bypass_policies(opened)
    except OSError as error:
        opened.close()
        step = f"take ESP in UDP for IPv{4 if kind is SocketKind.UDP_V4 else 6}"
        raise KernelError(step, error.errno or errno.EIO, hint=_hint(error)) from error
    return opened


def _bypass_policies(opened: socket.socket) -> None:
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


def _hint(error: OSError) -> str | None:
    if error.errno == errno.EADDRINUSE:
        return (
            f"another program has UDP port {NAT_T_PORT} (an IKE daemon such as charon or pluto, or "
            'another instance of plutino): stop it, or use encapsulation = "esp"'
        )
    if error.errno in (errno.EPERM, errno.EACCES):
        return "run as root, or with CAP_NET_ADMIN and CAP_NET_RAW"
    return None
