"""Kernel and engine, asked the same octet by octet."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.engine import engine_process
from tests.support.namespace import fresh_namespace
from tests.support.raw_plane import (
    ACK,
    DUMP,
    GETPOLICY,
    REQUEST,
    RawPlane,
    Reply,
    attribute,
)
from tests.support.until import until

TMPL, SEC_CTX, POLICY_TYPE, MIGRATE_LIST, KMADDRESS, MARK, ENCAP = 5, 8, 16, 17, 19, 21, 4
OFFLOAD_DEV, IF_ID, SA_DIR, SA_PCPU = 28, 31, 33, 35
HTHRESH4, HTHRESH6 = 3, 4


class Both:
    """Kernel and engine, asked the same."""

    def __init__(self, kernel: RawPlane, engine: RawPlane) -> None:
        self.kernel = kernel
        self.engine = engine

    def ask(
        self, kind: int, payload: bytes = b"", *, flags: int = REQUEST | ACK, port: int = 0
    ) -> list[Reply]:
        """What both answer; answers and notifications must be the same octets."""
        expected = self.kernel.ask(kind, payload, flags=flags, port=port)
        told = self.kernel.events()
        assert self.engine.ask(kind, payload, flags=flags, port=port) == expected
        assert self.engine.events() == told
        return expected

    def settle(self, kind: int, payload: bytes) -> None:
        """The same when the kernel has done what it does later."""
        until(
            lambda: self.kernel.ask(kind, payload) == self.engine.ask(kind, payload),
            f"both answer {kind:#x} alike",
        )
        self.ask(kind, payload)

    def errno(self, kind: int, payload: bytes = b"") -> tuple[int, str]:
        """Errno and words of the acknowledgement."""
        last = self.ask(kind, payload)[-1]
        return last.errno, last.words

    def dump(self) -> list[Reply]:
        """All policies, the end apart."""
        return self.ask(GETPOLICY, flags=REQUEST | DUMP)[:-1]


@contextmanager
def both_planes(folder: Path) -> Iterator[Both]:
    """Both without any object, in a namespace of their own."""
    with (
        engine_process(folder) as path,
        fresh_namespace(),
        RawPlane.kernel() as kernel,
        RawPlane.engine(path) as engine,
    ):
        yield Both(kernel, engine)


def mark(value: int, mask: int) -> bytes:
    return attribute(MARK, struct.pack("=II", value, mask))


def if_id(number: int) -> bytes:
    return attribute(IF_ID, struct.pack("=I", number))


def templates(*all_of_them: bytes) -> bytes:
    return attribute(TMPL, b"".join(all_of_them))
