"""Structures of ``linux/xfrm.h`` about SAs, with any numbers in them, wrong ones too."""

import struct
from typing import Final

from tests.support.policy_wire import INFINITE, address, selector
from tests.support.raw_plane import attribute

LOCAL: Final = {4: "192.0.2.1", 6: "2001:db8::1"}
REMOTE: Final = {4: "192.0.2.2", 6: "2001:db8::2"}
ANYTHING: Final = selector("0.0.0.0", "0.0.0.0", prefixes=(0, 0), family=0)
NO_LIMITS: Final = (INFINITE,) * 4 + (0,) * 4
ESP: Final = 50
TRANSPORT, TUNNEL, BEET = 0, 1, 4
IN, OUT = 1, 2
AF_UNSPEC: Final = 32
ESN: Final = 128

ALG_AUTH, ALG_CRYPT, ALG_COMP, ENCAP, TMPL, XFRMA_SA, XFRMA_POLICY, SEC_CTX = range(1, 9)
LTIME_VAL, REPLAY_VAL, REPLAY_THRESH, ETIMER_THRESH, SRCADDR, COADDR, LASTUSED = range(9, 16)
POLICY_TYPE, MIGRATE_LIST, ALG_AEAD, KMADDRESS, ALG_AUTH_TRUNC, MARK, TFCPAD = range(16, 23)
REPLAY_ESN_VAL, SA_EXTRA_FLAGS, PROTO, ADDRESS_FILTER, _PAD, OFFLOAD_DEV, SET_MARK = range(23, 30)
SET_MARK_MASK, IF_ID, MTIMER_THRESH, SA_DIR, NAT_KEEPALIVE_INTERVAL, SA_PCPU = range(30, 36)

INTEGRITY_KEY: Final = bytes(range(32))


def sa(
    *,
    spi: int = 0x1000,
    source: str = LOCAL[4],
    destination: str = REMOTE[4],
    chosen: bytes = ANYTHING,
    protocol: int = ESP,
    limits: tuple[int, ...] = NO_LIMITS,
    sequence: int = 0,
    reqid: int = 7,
    family: int | None = None,
    mode: int = TUNNEL,
    window: int = 0,
    flags: int = AF_UNSPEC,
) -> bytes:
    """``struct xfrm_usersa_info``."""
    if family is None:
        family = 10 if ":" in destination else 2
    return (
        chosen
        + address(destination)
        + struct.pack("!IB3x", spi, protocol)
        + address(source)
        + struct.pack("=8Q", *limits)
        + bytes(32 + 12)
        + struct.pack("=IIHBBB7x", sequence, reqid, family, mode, window, flags)
    )


def sa_id(
    *, spi: int = 0x1000, destination: str = REMOTE[4], protocol: int = ESP, family: int = 0
) -> bytes:
    """``struct xfrm_usersa_id``."""
    family = family or (10 if ":" in destination else 2)
    return address(destination) + struct.pack("!I", spi) + struct.pack("=HBx", family, protocol)


def spi_info(info: bytes, low: int, high: int) -> bytes:
    """``struct xfrm_userspi_info``."""
    return info + struct.pack("=II", low, high)


def sa_expire(info: bytes, hard: int) -> bytes:
    """``struct xfrm_user_expire``."""
    return info + struct.pack("=B7x", hard)


def aevent_id(
    *, name: bytes | None = None, source: str = LOCAL[4], flags: int = 0, reqid: int = 0
) -> bytes:
    """``struct xfrm_aevent_id``."""
    return (name or sa_id()) + address(source) + struct.pack("=II", flags, reqid)


def filtered(source: str, destination: str, family: int, lengths: tuple[int, int]) -> bytes:
    """XFRMA_ADDRESS_FILTER."""
    ends = address(source) + address(destination)
    return attribute(ADDRESS_FILTER, ends + struct.pack("=HBB", family, *lengths))


def algorithm(number: int, name: str, key: bytes, bits: int | None = None) -> bytes:
    """XFRMA_ALG_*; ``bits`` is the length of the ICV, for those that tell it."""
    told = struct.pack("=64sI", name.encode(), len(key) * 8)
    return attribute(number, told + (b"" if bits is None else struct.pack("=I", bits)) + key)


def aead(name: str = "rfc4106(gcm(aes))", octets: int = 20, bits: int = 128) -> bytes:
    """XFRMA_ALG_AEAD with a key that is no secret."""
    return algorithm(ALG_AEAD, name, bytes(range(octets)), bits)


def crypt(name: str = "cbc(aes)", octets: int = 16) -> bytes:
    """XFRMA_ALG_CRYPT."""
    return algorithm(ALG_CRYPT, name, bytes(range(octets)))


def auth(name: str = "hmac(sha256)", octets: int = 32, bits: int = 128) -> bytes:
    """XFRMA_ALG_AUTH_TRUNC."""
    return algorithm(ALG_AUTH_TRUNC, name, bytes(range(octets)), bits)


PLAIN: Final = crypt("ecb(cipher_null)", 0) + auth()
"""Integrity alone: what goes over the wire can be read, and compared."""


def replay_esn(
    words: int,
    window: int,
    *,
    oseq: int = 0,
    seq: int = 0,
    bitmap: tuple[int, ...] | None = None,
) -> bytes:
    """XFRMA_REPLAY_ESN_VAL; ``words`` of 32 bits."""
    low = 0xFFFFFFFF
    header = struct.pack("=6I", words, oseq & low, seq & low, oseq >> 32, seq >> 32, window)
    bitmap = (0,) * words if bitmap is None else bitmap
    return attribute(REPLAY_ESN_VAL, header + struct.pack(f"={len(bitmap)}I", *bitmap))


def replay(oseq: int = 0, seq: int = 0, bitmap: int = 0) -> bytes:
    """XFRMA_REPLAY_VAL."""
    return attribute(REPLAY_VAL, struct.pack("=III", oseq, seq, bitmap))


def lifetime(octets: int = 0, packets: int = 0, added: int = 0, used: int = 0) -> bytes:
    """XFRMA_LTIME_VAL."""
    return attribute(LTIME_VAL, struct.pack("=4Q", octets, packets, added, used))


def encap(kind: int = 2, source: int = 4500, destination: int = 4500) -> bytes:
    """XFRMA_ENCAP."""
    return attribute(
        ENCAP, struct.pack("=H", kind) + struct.pack("!HH2x", source, destination) + bytes(16)
    )


def mark(value: int, mask: int = 0xFFFFFFFF) -> bytes:
    """XFRMA_MARK."""
    return attribute(MARK, struct.pack("=II", value, mask))


def number(kind: int, value: int) -> bytes:
    """An attribute of 32 bits."""
    return attribute(kind, struct.pack("=I", value))


def if_id(value: int = 1) -> bytes:
    """XFRMA_IF_ID."""
    return number(IF_ID, value)


def direction(value: int) -> bytes:
    """XFRMA_SA_DIR."""
    return attribute(SA_DIR, bytes([value]))


def output_mark(value: int, mask: int | None = None) -> bytes:
    """XFRMA_SET_MARK."""
    return number(SET_MARK, value) + (b"" if mask is None else number(SET_MARK_MASK, mask))
