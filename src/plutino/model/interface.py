"""Interface names, and the one place that computes the if_id and the output mark from them.

``ipsecN`` has if_id N, and ``ipsec0`` has 16384 as in libreswan, because if_id 0 means none.
Another name gets its if_id from the configuration or from a stable range.
"""

import hashlib
import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface

from plutino.model.numbers import U32_MAX, IfId, Mark

IFNAMSIZ = 16
"""``linux/if.h``: length of an interface name with its closing NUL."""

IF_ID_OF_IPSEC0 = IfId(16384)
NAMED_RANGE_START = 32768
NAMED_RANGE_SIZE = 32768

_IPSEC_NAME = re.compile(r"ipsec(0|[1-9][0-9]{0,9})")
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f/:%]")

InterfaceAddress = IPv4Interface | IPv6Interface
IpAddress = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class VtiEnds:
    """What makes a link a VTI: outer addresses, and keys (IFLA_VTI_*), which are marks as well.

    ``remote`` None is the wildcard, for the tunnels of several peers.
    """

    local: IpAddress
    remote: IpAddress | None
    input_key: int
    output_key: int

    @property
    def family(self) -> tuple[int, bool]:
        """What the kernel does not change of a VTI: IP version, and whether it is a wildcard."""
        return self.local.version, self.remote is None

    def carries(self, source: IpAddress, destination: IpAddress, mark: Mark | None) -> bool:
        """Whether an SA with that mark serves it: the kernel looks it up by the key as mark."""
        local, remote, key = source, destination, self.output_key
        if source != self.local:
            local, remote, key = destination, source, self.input_key
        fits = mark is None or key & mark.mask == mark.value
        return fits and local == self.local and self.remote in (None, remote)


@dataclass(frozen=True, slots=True)
class Interface:
    """A routable link as it should be: an XFRM interface, which stands for one if_id, or a VTI.

    ``mtu`` is in bytes, of the inner packet. ``link`` and ``vrf`` are names of devices. An
    ``external`` one, and a VTI, have if_id 0. One in a ``namespace`` has its keys and its outer
    packets in the gateway's own. A ``dormant`` one has no tunnel that could carry a packet: it is
    up, and does not run (RFC 2863), so that routing daemons leave it.
    """

    name: str
    if_id: IfId
    mtu: int
    link: str | None = None
    external: bool = False
    vrf: str | None = None
    vti: VtiEnds | None = None
    namespace: str | None = None
    dormant: bool = False
    multicast: bool = True


def interface_name_problem(name: str) -> str | None:
    """Why ``name`` cannot be an interface name (``dev_valid_name()`` of the kernel), or None."""
    if not name or name in (".", ".."):
        return "an interface name must not be empty, '.' or '..'"
    if len(name.encode()) >= IFNAMSIZ:
        return f"an interface name has at most {IFNAMSIZ - 1} bytes"
    if _FORBIDDEN.search(name) or not name.isascii():
        return "an interface name must not contain spaces, '/', ':', '%' or non-ASCII characters"
    if name in ("lo", "all", "default"):
        return f"'{name}' has a meaning of its own for the kernel"
    return None


def interface_if_id(name: str, explicit: int | None = None) -> IfId:
    """The if_id that belongs to an interface name; ``explicit`` is the user's own choice.

    Raises ValueError if the number does not fit 32 bits or is 0.
    """
    if explicit is not None:
        if explicit == 0:
            raise ValueError("if_id 0 means none; choose 1 or more")
        return IfId(explicit)
    if (match := _IPSEC_NAME.fullmatch(name)) is not None:
        return IfId(int(match[1])) if int(match[1]) else IF_ID_OF_IPSEC0
    return named_if_id(name)


def named_if_id(name: str) -> IfId:
    """A stable if_id for a name that holds no number."""
    digest = hashlib.sha256(name.encode()).digest()
    return IfId(NAMED_RANGE_START + int.from_bytes(digest[:4], "big") % NAMED_RANGE_SIZE)


DEFAULT_MARK_MASK = 0xFFFF
"""Room for every if_id that follows from a name; the upper half is left to others."""

DEFAULT_UPLINK_MASK = 0xFF0000
"""Room for 255 uplinks, beside the bits of the if_id."""


def output_mark(if_id: IfId, mask: int = DEFAULT_MARK_MASK) -> Mark:
    """The mark of a transformed packet (XFRMA_SET_MARK): the if_id, in the bits of ``mask``.

    Under a mask from the lowest bit on mark and if_id are the same number; another holds the if_id
    shifted to its lowest bit. All bits of the mask together stand for what stays outside of
    tunnels. Raises ValueError if the mask is not one run of bits or is too narrow.
    """
    mark = bits_of_mark(if_id, mask)
    if mark is None or mark.value == mask:
        raise ValueError(f"if_id {if_id} does not fit the mark mask {mask:#x}")
    return mark


def bits_of_mark(number: int, mask: int) -> Mark | None:
    """A number in the bits of a mask; None if it has no room there.

    Raises ValueError if the mask is not one run of bits.
    """
    if not 0 < mask <= U32_MAX:
        raise ValueError(f"mark mask {mask:#x} must have between 1 and 32 bits")
    shift = (mask & -mask).bit_length() - 1
    width = mask >> shift
    if width & (width + 1):
        raise ValueError(f"mark mask {mask:#x} must be one run of bits")
    return Mark(number << shift, mask) if number <= width else None
