"""Structures of ``linux/xfrm.h`` about policies, with any numbers in them, wrong ones too."""

import struct
from ipaddress import ip_address
from typing import Final

INFINITE: Final = 2**64 - 1
NO_LIMITS: Final = (INFINITE,) * 4 + (0,) * 4


def address(text: str) -> bytes:
    """``xfrm_address_t``."""
    return ip_address(text).packed.ljust(16, b"\0")


def selector(
    source: str = "10.1.0.0",
    destination: str = "10.2.0.0",
    *,
    prefixes: tuple[int, int] = (16, 16),
    protocol: int = 0,
    ports: tuple[int, int, int, int] = (0, 0, 0, 0),
    family: int | None = None,
    ifindex: int = 0,
    user: int = 0,
    padding: bytes = b"\0\0\0",
) -> bytes:
    """``struct xfrm_selector``; prefixes of source and destination, ports as on the wire:
    destination, its mask, source, its mask."""
    if family is None:
        family = 10 if ":" in source else 2
    return (
        address(destination)
        + address(source)
        + struct.pack("!4H", *ports)
        + struct.pack(
            "=HBBB3sII", family, prefixes[1], prefixes[0], protocol, padding, ifindex, user
        )
    )


def policy(
    chosen: bytes = selector(),
    *,
    direction: int = 1,
    action: int = 0,
    flags: int = 0,
    share: int = 0,
    priority: int = 100,
    index: int = 0,
    limits: tuple[int, ...] = NO_LIMITS,
) -> bytes:
    """``struct xfrm_userpolicy_info``."""
    numbers = struct.pack("=II4B4x", priority, index, direction, action, flags, share)
    return chosen + struct.pack("=8Q", *limits) + bytes(32) + numbers


def policy_id(chosen: bytes = selector(), *, direction: int = 1, index: int = 0) -> bytes:
    """``struct xfrm_userpolicy_id``."""
    return chosen + struct.pack("=IB3x", index, direction)


def expire(info: bytes, *, hard: int) -> bytes:
    """``struct xfrm_user_polexpire``."""
    return info + struct.pack("=B7x", hard)


def template(
    destination: str = "198.51.100.2",
    source: str = "192.0.2.1",
    *,
    mode: int = 1,
    optional: int = 0,
    family: int = 2,
    protocol: int = 50,
    reqid: int = 1,
    holes: int = 0,
) -> bytes:
    """``struct xfrm_user_tmpl``; ``holes`` fill what means nothing."""
    hole = bytes([holes])
    return (
        address(destination)
        + struct.pack("=IB3s", 0, protocol, hole * 3)
        + struct.pack("=H2s", family, hole * 2)
        + address(source)
        + struct.pack("=I4B", reqid, mode, 0, optional, holes)
        + b"\xff" * 12
    )


def migration(
    old: tuple[str, str] = ("198.51.100.2", "192.0.2.1"),
    new: tuple[str, str] = ("203.0.113.2", "203.0.113.1"),
    *,
    protocol: int = 50,
    mode: int = 1,
    reqid: int = 1,
    families: tuple[int, int] = (2, 2),
) -> bytes:
    """``struct xfrm_user_migrate``; pairs of destination and source."""
    return b"".join(map(address, old + new)) + struct.pack(
        "=BBHIHH", protocol, mode, 0, reqid, *families
    )
