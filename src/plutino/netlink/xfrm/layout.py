"""How a C structure of ``linux/xfrm.h`` is laid out, told once per field.

A wire structure is a frozen dataclass whose fields name their C type; offsets, padding and size
follow from the rules of the x86-64 and arm64 ABIs (each member at a multiple of its alignment, the
whole a multiple of the largest), so nobody counts padding by hand. A test compares every offset
with what the C compiler makes of the header. Padding is ignored coming in and zero going out.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final, Protocol, Self

from plutino.model.errors import WireError

ADDRESS_SIZE = 16
"""``xfrm_address_t``: an IPv6 address, or an IPv4 address in its first 4 bytes."""
NO_ADDRESS = bytes(ADDRESS_SIZE)
NAME_SIZE = 64
"""``alg_name`` of the algorithm structures."""


class Member(Protocol):
    """The C type of one member."""

    @property
    def size(self) -> int:
        """Bytes."""
        ...

    @property
    def alignment(self) -> int:
        """Bytes; the member starts at a multiple of it."""
        ...

    def unpack(self, data: bytes, offset: int) -> Any:
        """The member's value; ``data`` is known to be long enough."""
        ...

    def pack(self, value: Any) -> bytes:
        """Exactly ``size`` bytes; ValueError if the value does not fit."""
        ...

    @property
    def code(self) -> str:
        """Of ``struct`` in host order, for values as ``plain`` gives them."""
        ...

    @property
    def is_plain(self) -> bool:
        """Whether ``code`` packs the value as it is."""
        ...

    def plain(self, value: Any) -> Any:
        """What ``code`` packs; ``pack`` says what is wrong with a value that does not fit."""
        ...


class Number:
    """An integer; ``code`` is that of ``struct``, with ``=`` for host order, ``!`` for network."""

    def __init__(self, code: str) -> None:
        self._struct: Final = struct.Struct(code)
        self.size: Final = self._struct.size
        self.alignment: Final = self._struct.size
        self.is_plain: Final = code[0] == "="
        self.code: Final = code[1:] if self.is_plain else f"{self.size}s"

    def plain(self, value: int) -> int | bytes:
        """The number, or its bytes in network order."""
        return value if self.is_plain else value.to_bytes(self.size, "big")

    def unpack(self, data: bytes, offset: int) -> int:
        """The number at the offset."""
        (value,) = self._struct.unpack_from(data, offset)
        return int(value)

    def pack(self, value: int) -> bytes:
        """The number's bytes."""
        try:
            return self._struct.pack(value)
        except struct.error as error:
            raise ValueError(f"{value} does not fit {self.size} bytes") from error


class Address:
    """``xfrm_address_t``, as its 16 bytes: which family it is stands elsewhere in the structure."""

    size = ADDRESS_SIZE
    alignment = 4
    code = f"{ADDRESS_SIZE}s"
    is_plain = False

    def plain(self, value: bytes) -> bytes:
        """The 16 bytes."""
        return value if len(value) == self.size else self.pack(value)

    def unpack(self, data: bytes, offset: int) -> bytes:
        """The 16 bytes."""
        return bytes(data[offset : offset + self.size])

    def pack(self, value: bytes) -> bytes:
        """The 16 bytes; ValueError for any other length."""
        if len(value) != self.size:
            raise ValueError(f"an xfrm_address_t has {self.size} bytes, not {len(value)}")
        return bytes(value)


class Name:
    """``char[64]``, NUL-terminated; what follows the NUL means nothing."""

    size = NAME_SIZE
    alignment = 1
    code = f"{NAME_SIZE}s"
    is_plain = False

    def plain(self, value: str) -> bytes:
        """The text and its NULs."""
        return self.pack(value)

    def unpack(self, data: bytes, offset: int) -> str:
        """The text before the NUL; octets above 127 survive as Latin-1."""
        return bytes(data[offset : offset + self.size]).split(b"\0", 1)[0].decode("latin-1")

    def pack(self, value: str) -> bytes:
        """The text and its NULs; ValueError if it is too long or contains a NUL."""
        octets = value.encode("latin-1")
        if len(octets) > self.size or b"\0" in octets:
            raise ValueError(f"'{value}' is no name of at most {self.size} bytes")
        return octets.ljust(self.size, b"\0")


class Nested:
    """A structure inside a structure."""

    def __init__(self, kind: "type[Structure]") -> None:
        self.kind: Final = kind
        self.size: Final = kind.size()
        self.alignment: Final = layout(kind).alignment
        self.code: Final = f"{self.size}s"
        self.is_plain: Final = False
        # Most are one constant, such as "no limits", in one message after another.
        self._last: tuple[Structure | None, bytes] = (None, b"")

    def plain(self, value: "Structure") -> bytes:
        """The inner structure's bytes."""
        last, octets = self._last
        if last is not value:
            octets = value.encode()
            self._last = value, octets
        return octets

    def unpack(self, data: bytes, offset: int) -> "Structure":
        """The inner structure."""
        return self.kind.parse(data[offset : offset + self.size])

    def pack(self, value: "Structure") -> bytes:
        """The inner structure's bytes."""
        return value.encode()


def u8() -> Any:
    """``__u8``."""
    return field(default=0, metadata={"member": Number("=B")})


def u16() -> Any:
    """``__u16`` in host order."""
    return field(default=0, metadata={"member": Number("=H")})


def u32() -> Any:
    """``__u32`` in host order."""
    return field(default=0, metadata={"member": Number("=I")})


def s32() -> Any:
    """``int``."""
    return field(default=0, metadata={"member": Number("=i")})


def u64() -> Any:
    """``__u64`` in host order."""
    return field(default=0, metadata={"member": Number("=Q")})


def be16() -> Any:
    """``__be16``."""
    return field(default=0, metadata={"member": Number("!H")})


def be32() -> Any:
    """``__be32``."""
    return field(default=0, metadata={"member": Number("!I")})


def address() -> Any:
    """``xfrm_address_t``."""
    return field(default=NO_ADDRESS, metadata={"member": Address()})


def name() -> Any:
    """``char[64]``."""
    return field(default="", metadata={"member": Name()})


def nested(kind: "type[Structure]") -> Any:
    """A structure as a member."""
    return field(default=kind(), metadata={"member": Nested(kind)})


def reserved(code: str) -> Any:
    """A member that is ignored coming in and zero going out."""
    member = Number(f"={code}")
    return field(init=False, default=0, repr=False, compare=False, metadata={"member": member})


@dataclass(frozen=True, slots=True)
class Layout:
    """Offsets of all members, and what the compiler adds."""

    members: Mapping[str, tuple[int, Member]]
    inputs: tuple[str, ...]
    size: int
    alignment: int
    packer: struct.Struct
    """Of the whole, with its padding, for the plain values of the members."""
    values: Callable[[Any], tuple[Any, ...]]
    others: tuple[tuple[int, Member], ...]
    """Members that are not plain, by their place among the inputs."""


@dataclass(frozen=True, slots=True)
class Structure:
    """A fixed C structure; subclasses give their members by ``u8()``, ``be32()`` and so on."""

    @classmethod
    def size(cls) -> int:
        """``sizeof``, with all padding."""
        return layout(cls).size

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """From exactly ``size()`` bytes; anything else is a WireError."""
        shape = layout(cls)
        if len(data) != shape.size:
            why = "truncated" if len(data) < shape.size else f"more than {shape.size} bytes"
            raise WireError(cls.__name__, offset=min(len(data), shape.size), why=why)
        values = {}
        for key in shape.inputs:
            offset, member = shape.members[key]
            values[key] = member.unpack(data, offset)
        return cls(**values)

    def encode(self) -> bytes:
        """The structure's bytes; ValueError if a member does not fit."""
        shape = layout(type(self))
        values = list(shape.values(self))
        try:
            for place, member in shape.others:
                values[place] = member.plain(values[place])
            return shape.packer.pack(*values)
        except (struct.error, OverflowError):
            return self._encode_each(shape)

    def _encode_each(self, shape: Layout) -> bytes:
        """Member by member, so that the one that does not fit is told."""
        octets = bytearray(shape.size)
        for key in shape.inputs:
            offset, member = shape.members[key]
            octets[offset : offset + member.size] = member.pack(getattr(self, key))
        return bytes(octets)


_LAYOUTS: Final[dict[type[Structure], Layout]] = {}


def layout(kind: type[Structure]) -> Layout:
    """The layout of a structure, as the C compiler has it."""
    if (known := _LAYOUTS.get(kind)) is None:
        known = _LAYOUTS[kind] = _lay_out(kind)
    return known


def _lay_out(kind: type[Structure]) -> Layout:
    members: dict[str, tuple[int, Member]] = {}
    inputs: dict[str, Member] = {}
    offset, alignment = 0, 1
    code = "="
    for one in fields(kind):
        member: Member = one.metadata["member"]
        padding = -offset % member.alignment
        offset += padding
        members[one.name] = (offset, member)
        code += f"{padding}x"
        if one.init:
            inputs[one.name] = member
            code += member.code
        else:
            code += f"{member.size}x"
        offset += member.size
        alignment = max(alignment, member.alignment)
    padding = -offset % alignment
    offset += padding
    packer = struct.Struct(f"{code}{padding}x")
    return Layout(
        members=MappingProxyType(members),
        inputs=tuple(inputs),
        size=offset,
        alignment=alignment,
        packer=packer,
        values=_getter(tuple(inputs)),
        others=tuple((place, one) for place, one in enumerate(inputs.values()) if not one.is_plain),
    )


def _getter(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    """All of the attributes at once."""
    if len(names) > 1:
        return attrgetter(*names)
    return lambda value: tuple(getattr(value, name) for name in names)
