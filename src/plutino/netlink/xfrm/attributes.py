"""Attributes of XFRM messages: one table from number to name and codec.

Values of fixed form are numbers or structures; those with a tail of their own (keys, bitmaps,
labels) are the classes below. An unknown attribute keeps its octets and its place.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Final, Protocol, Self

from plutino.model.errors import WireError
from plutino.model.secret import Secret
from plutino.netlink.xfrm.constants import REPLAY_ESN_MAX, SadAttribute, SpdAttribute, Xfrma
from plutino.netlink.xfrm.layout import Address, Number, Structure
from plutino.netlink.xfrm.structures import (
    AddressFilter,
    AeadHeader,
    AlgorithmHeader,
    AuthHeader,
    EncapTemplate,
    KmAddress,
    LifetimeCurrent,
    ReplayEsnHeader,
    ReplayState,
    SadHashInfo,
    SecurityContextHeader,
    UserOffload,
    UserSaInfo,
    XfrmMark,
)
from plutino.netlink.xfrm.structures_policy import (
    SpdHashInfo,
    SpdHashThreshold,
    SpdInfo,
    UserMigrate,
    UserPolicyInfo,
    UserPolicyType,
    UserTemplate,
)


@dataclass(frozen=True, slots=True)
class KeyedAlgorithm:
    """A header that names an algorithm, and its key: ``struct xfrm_algo`` and its kin.

    The key has ``header.alg_key_len`` bits in whole octets. ``KIND`` says which header.
    """

    KIND: ClassVar[type[AlgorithmHeader | AuthHeader | AeadHeader]] = AlgorithmHeader
    header: AlgorithmHeader | AuthHeader | AeadHeader
    key: Secret

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """From the octets of the attribute; the key must be there in full, and nothing after."""
        size = cls.KIND.size()
        header = cls.KIND.parse(data[:size])
        expected = (header.alg_key_len + 7) // 8
        if len(data) - size != expected:
            raise WireError(
                cls.__name__,
                offset=len(data),
                why=f"{len(data) - size} bytes of key for {header.alg_key_len} bits",
            )
        return cls(header, Secret(data[size:]))

    def encode(self) -> bytes:
        """Header and key."""
        return self.header.encode() + self.key.reveal()


@dataclass(frozen=True, slots=True)
class Algorithm(KeyedAlgorithm):
    """``struct xfrm_algo``: encryption, compression, or authentication of the old form."""


@dataclass(frozen=True, slots=True)
class AuthAlgorithm(KeyedAlgorithm):
    """``struct xfrm_algo_auth``: authentication with the length of its ICV."""

    KIND = AuthHeader


@dataclass(frozen=True, slots=True)
class AeadAlgorithm(KeyedAlgorithm):
    """``struct xfrm_algo_aead``: combined mode; the key includes the salt."""

    KIND = AeadHeader

    @classmethod
    def of(cls, kernel_name: str, keymat: Secret, icv_bits: int) -> Self:
        """From name, key with salt, and ICV in bits."""
        return cls(AeadHeader(kernel_name, 8 * len(keymat), icv_bits), keymat)


@dataclass(frozen=True, slots=True)
class ReplayEsn:
    """``struct xfrm_replay_state_esn``: header and bitmap, a ring in words of 32 bits.

    The header alone stands for an empty bitmap of its length, as iproute2 sends it.
    """

    header: ReplayEsnHeader
    bmp: tuple[int, ...]

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """The bitmap must have the length that the header tells, 4096 bits at most."""
        size = ReplayEsnHeader.size()
        header = ReplayEsnHeader.parse(data[:size])
        words = 0 if len(data) == size else header.bmp_len
        if header.bmp_len > REPLAY_ESN_MAX // 32 or len(data) != size + 4 * words:
            raise WireError(
                "ReplayEsn", offset=0, why=f"a bitmap of {header.bmp_len} words does not fit"
            )
        return cls(header, struct.unpack_from(f"={words}I", data, size))

    def encode(self) -> bytes:
        """Header and bitmap; ValueError if they disagree."""
        if len(self.bmp) not in (0, self.header.bmp_len):
            raise ValueError(f"{len(self.bmp)} words for a bitmap of {self.header.bmp_len}")
        return self.header.encode() + struct.pack(f"={len(self.bmp)}I", *self.bmp)


@dataclass(frozen=True, slots=True)
class SecurityContext:
    """``struct xfrm_user_sec_ctx``: header and label of a Linux security module."""

    header: SecurityContextHeader
    label: bytes

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """The label must have the length that the header tells."""
        size = SecurityContextHeader.size()
        header = SecurityContextHeader.parse(data[:size])
        if len(data) != size + header.ctx_len:
            raise WireError(
                "SecurityContext", offset=6, why=f"a label of {header.ctx_len} bytes does not fit"
            )
        return cls(header, bytes(data[size:]))

    def encode(self) -> bytes:
        """Header and label; ValueError if they disagree."""
        if len(self.label) != self.header.ctx_len:
            raise ValueError(f"{len(self.label)} bytes for a label of {self.header.ctx_len}")
        return self.header.encode() + self.label


class Codec(Protocol):
    """Octets of an attribute to its value and back."""

    def parse(self, data: bytes) -> Any:
        """The value, or a WireError."""
        ...

    def encode(self, value: Any) -> bytes:
        """The octets; ValueError if the value does not fit."""
        ...


class Scalar:
    """A number or an address alone."""

    def __init__(self, member: Number | Address) -> None:
        self._member: Final = member

    def parse(self, data: bytes) -> int | bytes:
        """The value of exactly as many bytes as its type has."""
        if len(data) != self._member.size:
            raise WireError("number", offset=len(data), why=f"not {self._member.size} bytes")
        return self._member.unpack(data, 0)

    def encode(self, value: Any) -> bytes:
        """The bytes of the value."""
        return self._member.pack(value)


class Whole:
    """A structure, or a class above, as the whole attribute."""

    def __init__(
        self, kind: type[Structure | KeyedAlgorithm | ReplayEsn | SecurityContext]
    ) -> None:
        self._kind: Final = kind

    def parse(self, data: bytes) -> Structure | KeyedAlgorithm | ReplayEsn | SecurityContext:
        """The structure."""
        return self._kind.parse(data)

    def encode(self, value: Any) -> bytes:
        """The structure's bytes; ValueError for a value of another class."""
        if not isinstance(value, self._kind):
            raise ValueError(f"{type(value).__name__} stands where {self._kind.__name__} belongs")
        return value.encode()


class Several:
    """Structures one after the other."""

    def __init__(self, kind: type[Structure]) -> None:
        self._kind: Final = kind

    def parse(self, data: bytes) -> tuple[Structure, ...]:
        """All of them; a rest is a WireError."""
        size = self._kind.size()
        return tuple(self._kind.parse(data[at : at + size]) for at in range(0, len(data), size))

    def encode(self, value: Any) -> bytes:
        """Their bytes."""
        return b"".join(one.encode() for one in value)


class Octets:
    """Flags without content, padding, and what is unknown."""

    def parse(self, data: bytes) -> bytes:
        """The octets."""
        return bytes(data)

    def encode(self, value: Any) -> bytes:
        """The octets."""
        return bytes(value)


OCTETS: Final = Octets()
_U8: Final = Scalar(Number("=B"))
_U16: Final = Scalar(Number("=H"))
_U32: Final = Scalar(Number("=I"))
_U64: Final = Scalar(Number("=Q"))
_ADDRESS: Final = Scalar(Address())

XFRM_ATTRIBUTES: Final[Mapping[int, Codec]] = MappingProxyType(
    {
        Xfrma.ALG_AUTH: Whole(Algorithm),
        Xfrma.ALG_CRYPT: Whole(Algorithm),
        Xfrma.ALG_COMP: Whole(Algorithm),
        Xfrma.ENCAP: Whole(EncapTemplate),
        Xfrma.TMPL: Several(UserTemplate),
        Xfrma.SA: Whole(UserSaInfo),
        Xfrma.POLICY: Whole(UserPolicyInfo),
        Xfrma.SEC_CTX: Whole(SecurityContext),
        Xfrma.LTIME_VAL: Whole(LifetimeCurrent),
        Xfrma.REPLAY_VAL: Whole(ReplayState),
        Xfrma.REPLAY_THRESH: _U32,
        Xfrma.ETIMER_THRESH: _U32,
        Xfrma.SRCADDR: _ADDRESS,
        Xfrma.COADDR: _ADDRESS,
        Xfrma.LASTUSED: _U64,
        Xfrma.POLICY_TYPE: Whole(UserPolicyType),
        Xfrma.MIGRATE: Several(UserMigrate),
        Xfrma.ALG_AEAD: Whole(AeadAlgorithm),
        Xfrma.KMADDRESS: Whole(KmAddress),
        Xfrma.ALG_AUTH_TRUNC: Whole(AuthAlgorithm),
        Xfrma.MARK: Whole(XfrmMark),
        Xfrma.TFCPAD: _U32,
        Xfrma.REPLAY_ESN_VAL: Whole(ReplayEsn),
        Xfrma.SA_EXTRA_FLAGS: _U32,
        Xfrma.PROTO: _U8,
        Xfrma.ADDRESS_FILTER: Whole(AddressFilter),
        Xfrma.PAD: OCTETS,
        Xfrma.OFFLOAD_DEV: Whole(UserOffload),
        Xfrma.SET_MARK: _U32,
        Xfrma.SET_MARK_MASK: _U32,
        Xfrma.IF_ID: _U32,
        Xfrma.MTIMER_THRESH: _U32,
        Xfrma.SA_DIR: _U8,
        Xfrma.NAT_KEEPALIVE_INTERVAL: _U32,
        Xfrma.SA_PCPU: _U32,
        Xfrma.IPTFS_DROP_TIME: _U32,
        Xfrma.IPTFS_REORDER_WINDOW: _U16,
        Xfrma.IPTFS_DONT_FRAG: OCTETS,
        Xfrma.IPTFS_INIT_DELAY: _U32,
        Xfrma.IPTFS_MAX_QSIZE: _U32,
        Xfrma.IPTFS_PKT_SIZE: _U32,
    }
)

SAD_ATTRIBUTES: Final[Mapping[int, Codec]] = MappingProxyType(
    {SadAttribute.CNT: _U32, SadAttribute.HINFO: Whole(SadHashInfo)}
)

SPD_ATTRIBUTES: Final[Mapping[int, Codec]] = MappingProxyType(
    {
        SpdAttribute.INFO: Whole(SpdInfo),
        SpdAttribute.HINFO: Whole(SpdHashInfo),
        SpdAttribute.IPV4_HTHRESH: Whole(SpdHashThreshold),
        SpdAttribute.IPV6_HTHRESH: Whole(SpdHashThreshold),
    }
)
