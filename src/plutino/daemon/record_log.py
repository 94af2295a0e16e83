"""Many small records in one file, by name: kept and dropped without a file or a search for each.

New records are added at the end, and what they replace is made void and overwritten where it is, so
that of a name there is one that counts. What a crash has cut off at the end counts as never
written. When most of the file is void, another one is put in its place.
"""

import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

_HEADER: Final = struct.Struct("!BHI")
"""Whether it counts, and the lengths of its name and of what it holds."""
_VOID: Final = b"\0"
_LEAST_WASTE: Final = 1 << 20
"""Octets of void records that are no reason for another file."""
_ONLY_OURS: Final = 0o600
_NEW: Final = ".new"


class RecordLog:
    """Serves one process at a time; the file is its owner's alone."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._places: dict[str, tuple[int, int]] = {}
        self._end = 0
        self._waste = 0
        self._has_rest = False

    def load(self) -> dict[str, bytes]:
        """All records, the oldest first. OSError if there is a file that cannot be read."""
        self.close()
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return {}
        octets = self._path.read_bytes()
        found = {}
        for name, start, end, content in _parse(octets):
            self._void(name)
            self._places[name] = start, end
            found[name] = content
            self._end = end
        self._has_rest = self._end < len(octets)
        self._waste = self._end - sum(end - start for start, end in self._places.values())
        self._tidy(0)
        self._forget_if_closed()
        return found

    def add(self, records: Iterable[tuple[str, bytes]]) -> None:
        """These instead of what had their names. OSError if the disk refuses; then none is kept."""
        several = [(name, _encode(name, content)) for name, content in records]
        try:
            if self._file is None:
                self._open()
            assert self._file is not None
            if self._has_rest:
                os.ftruncate(self._file, self._end)
                self._has_rest = False
            _write(self._file, b"".join(octets for _, octets in several), self._end)
        except OSError:
            self._cut()
            raise
        for name, octets in several:
            self._void(name)
            self._places[name] = self._end, self._end + len(octets)
            self._end += len(octets)
        self._tidy(_LEAST_WASTE)
        self._forget_if_closed()

    def drop(self, name: str) -> None:
        """It counts no more, whatever the disk has against it: else there is no file any more."""
        self._void(name)
        self._forget_if_closed()

    def close(self) -> None:
        """The file stays."""
        if self._file is not None:
            os.close(self._file)
        self._file, self._end, self._waste, self._has_rest = None, 0, 0, False
        self._places.clear()

    def _open(self) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        self._file = os.open(self._path, flags, _ONLY_OURS)

    def _void(self, name: str) -> None:
        place = self._places.pop(name, None)
        if place is None or self._file is None:
            return
        start, end = place
        self._waste += end - start
        try:
            os.pwrite(self._file, _VOID, start)
            _write(self._file, bytes(end - start - _HEADER.size), start + _HEADER.size)
        except OSError:
            os.close(self._file)
            self._file = None
            self._path.unlink(missing_ok=True)

    def _forget_if_closed(self) -> None:
        if self._file is None:
            self.close()

    def _cut(self) -> None:
        self._has_rest = True
        if self._file is not None:
            with suppress(OSError):
                os.ftruncate(self._file, self._end)

    def _tidy(self, least: int) -> None:
        """Another file without what is void, where that is more than the rest."""
        if self._file is None or self._waste <= max(least, self._end - self._waste):
            return
        new = self._path.with_name(self._path.name + _NEW)
        places, parts, end = {}, [], 0
        try:
            for name, (start, stop) in self._places.items():
                parts.append(os.pread(self._file, stop - start, start))
                places[name] = end, end + stop - start
                end += stop - start
            file = os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _ONLY_OURS)
            try:
                _write(file, b"".join(parts), 0)
                new.replace(self._path)
            except OSError:
                os.close(file)
                raise
        except OSError:  # there is no room for it
            with suppress(OSError):
                new.unlink()
            return
        os.close(self._file)
        self._file, self._places, self._end, self._waste = file, places, end, 0


def _parse(octets: bytes) -> Iterator[tuple[str, int, int, bytes]]:
    """Name, where it begins and ends, and what it holds, of those that count."""
    start = 0
    while start + _HEADER.size <= len(octets):
        counts, of_name, of_content = _HEADER.unpack_from(octets, start)
        name_at = start + _HEADER.size
        content_at = name_at + of_name
        end = content_at + of_content
        if end > len(octets):
            return
        if counts:
            name = octets[name_at:content_at].decode(errors="replace")
            yield name, start, end, octets[content_at:end]
        start = end


def _encode(name: str, content: bytes) -> bytes:
    encoded = name.encode()
    return _HEADER.pack(1, len(encoded), len(content)) + encoded + content


def _write(file: int, octets: bytes, at: int) -> None:
    rest = memoryview(octets)
    while rest:
        written = os.pwrite(file, rest, at)
        rest, at = rest[written:], at + written
