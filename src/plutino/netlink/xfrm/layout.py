"""How a C structure of ``linux/xfrm.h`` is laid out, told once per field.

A wire structure is a frozen dataclass whose fields name their C type; offsets, padding and size
follow from the rules of the x86-64 and arm64 ABIs (each member at a multiple of its alignment, the
whole a multiple of the largest), so nobody counts padding by hand. A test compares every offset
with what the C compiler makes of the header. Padding is ignored coming in and zero going out.
"""

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields, is_dataclass, replace
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final, Protocol, Self

from plutino.model.errors import WireError
from plutino.model.wire_value import wire_value

ADDRESS_SIZE = 16
"""``xfrm_address_t``: an IPv6 address, or an IPv4 address in its first 4 bytes."""
NO_ADDRESS = bytes(ADDRESS_SIZE)
NAME_SIZE = 64
"""``alg_name`` of the algorithm structures."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A member that is no structure, as ``struct`` packs it in host order.

    ``path`` leads to it from the outermost structure, with dots. ``code`` is that of ``struct``,
    ``convert`` makes what it takes, None for the value itself.
    """

    path: str
    code: str
    convert: Callable[[Any], Any] | None = None


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

    def leaves(self, path: str) -> Iterable[Leaf]:
        """What it is made of; their codes have ``size`` bytes together."""
        ...


class Number:
    """An integer; ``code`` is that of ``struct``, with ``=`` for host order, ``!`` for network."""

    def __init__(self, code: str) -> None:
        self._struct: Final = struct.Struct(code)
        self.size: Final = self._struct.size
        self.alignment: Final = self._struct.size
        self._code: Final = code

    def leaves(self, path: str) -> Iterable[Leaf]:
        """The number."""
        if self._code[0] == "=":
            return [Leaf(path, self._code[1:])]
        return [Leaf(path, f"{self.size}s", self._struct.pack)]

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

    def leaves(self, path: str) -> Iterable[Leaf]:
        """The 16 bytes."""
        return [Leaf(path, f"{self.size}s", self.pack)]

    def unpack(self, data: bytes, offset: int) -> bytes:
        """The 16 bytes."""
        return bytes(data[offset : offset + self.size])

    def pack(self, value: bytes) -> bytes:
        """The 16 bytes; ValueError for any other length."""
        if len(value) != ADDRESS_SIZE:
            raise ValueError(f"an xfrm_address_t has {ADDRESS_SIZE} bytes, not {len(value)}")
        return value


class Name:
    """``char[64]``, NUL-terminated; what follows the NUL means nothing."""

    size = NAME_SIZE
    alignment = 1

    def leaves(self, path: str) -> Iterable[Leaf]:
        """The text and its NULs."""
        return [Leaf(path, f"{self.size}s", self.pack)]

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

    def leaves(self, path: str) -> Iterable[Leaf]:
        """Those of the inner structure."""
        return [
            replace(one, path=one.path and f"{path}.{one.path}") for one in layout(self.kind).leaves
        ]

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
    leaves: tuple[Leaf, ...]
    """Of the whole in their order; padding has no path."""
    packer: struct.Struct
    """Of all leaves."""
    values: Callable[[Any], tuple[Any, ...]]
    """Gives the value of each leaf."""
    conversions: tuple[tuple[int, Callable[[Any], Any]], ...]
    """Of leaves that need one, by their place among the values."""


@wire_value
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
        # With all that is nested in it, in one go: messages come by the thousand.
        shape = layout(type(self))
        values = [*shape.values(self)]
        try:
            for place, convert in shape.conversions:
                values[place] = convert(values[place])
            return shape.packer.pack(*values)
        except struct.error:
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
    leaves: list[Leaf] = []
    offset, alignment = 0, 1
    for one in _fields(kind):
        member: Member = one.metadata["member"]
        padding = -offset % member.alignment
        offset += padding
        members[one.name] = (offset, member)
        leaves += _padding(padding)
        leaves += member.leaves(one.name) if one.init else _padding(member.size)
        offset += member.size
        alignment = max(alignment, member.alignment)
    padding = -offset % alignment
    leaves += _padding(padding)
    told = [leaf for leaf in leaves if leaf.path]
    return Layout(
        members=MappingProxyType(members),
        inputs=tuple(one.name for one in _fields(kind) if one.init),
        size=offset + padding,
        alignment=alignment,
        leaves=tuple(leaves),
        packer=struct.Struct("=" + "".join(leaf.code for leaf in leaves)),
        values=_getter([leaf.path for leaf in told]),
        conversions=tuple(
            (place, leaf.convert) for place, leaf in enumerate(told) if leaf.convert is not None
        ),
    )


def _fields(kind: type[Structure]) -> tuple[Field[Any], ...]:
    assert is_dataclass(kind)
    return fields(kind)


def _padding(size: int) -> list[Leaf]:
    return [Leaf("", f"{size}x")] if size else []


def _getter(paths: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    """All of the attributes at once."""
    if len(paths) > 1:
        return attrgetter(*paths)
    return lambda value: tuple(getattr(value, path) for path in paths)
