"""The ELF kernel inside a bzImage, for a boot without decompression, which is slow in emulation.

The layout is that of the x86 boot protocol (Documentation/arch/x86/boot.rst, 2.08 and newer).
"""

import lzma
import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable
from typing import Final

from plutino.model.errors import WireError

_MAGIC: Final = b"HdrS"
_MAGIC_AT: Final = 0x202
_SETUP_SECTORS_AT: Final = 0x1F1
_PAYLOAD_AT: Final = struct.Struct("<II")
"""Offset from the end of the set-up code, and length, at 0x248."""


def unpack_vmlinux(image: bytes) -> bytes:
    """The vmlinux in a bzImage. Raises WireError if it is not one or its packing is unknown."""
    if image[_MAGIC_AT : _MAGIC_AT + 4] != _MAGIC:
        raise WireError("bzImage", offset=_MAGIC_AT, why="no HdrS")
    start = ((image[_SETUP_SECTORS_AT] or 4) + 1) * 512
    offset, length = _PAYLOAD_AT.unpack_from(image, 0x248)
    packed = image[start + offset : start + offset + length]
    for magic, unpack in _FORMATS.items():
        if packed.startswith(magic):
            kernel = unpack(packed)
            if not kernel.startswith(b"\x7fELF"):
                raise WireError("vmlinux", offset=0, why="unpacked, but no ELF file")
            return kernel
    raise WireError("bzImage", offset=start + offset, why=f"unknown packing {packed[:6].hex()}")


def _by_tool(tool: str) -> Callable[[bytes], bytes]:
    def unpack(packed: bytes) -> bytes:
        if shutil.which(tool) is None:
            raise WireError("bzImage", offset=0, why=f"packed by {tool}, which is not here")
        # The last four bytes are the unpacked size, which the tool complains of, so its status
        # tells nothing: the caller looks at what came out.
        return subprocess.run(
            [tool, "-dc"], input=packed[:-4], capture_output=True, check=False
        ).stdout

    return unpack


_FORMATS: Final[dict[bytes, Callable[[bytes], bytes]]] = {
    b"\xfd7zXZ\0": lambda packed: lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(packed),
    b"\x1f\x8b": lambda packed: zlib.decompressobj(31).decompress(packed),
    b"\x28\xb5\x2f\xfd": _by_tool("zstd"),
    b"\x02\x21\x4c\x18": _by_tool("lz4"),
}
