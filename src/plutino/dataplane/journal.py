"""What an instance was about to make in the kernel, written down before it is made.

So it knows its own where the kernel has no place for a tag, or where it died before it set one. The
file stands in the runtime directory and is gone when the kernel's tables are.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from plutino.dataplane.runtime import RuntimePaths
from plutino.model.errors import PlaneError


class Journal:
    """Words, one to a line."""

    def __init__(self, path: Path | None, words: Iterable[str] = ()) -> None:
        self._path = path
        self.words = set(words)

    @classmethod
    def read(cls, path: Path) -> Self:
        """From its file; what cannot be read is as if it was not there."""
        try:
            return cls(path, path.read_text().splitlines())
        except (OSError, ValueError):
            return cls(path)

    @classmethod
    def in_memory(cls) -> Self:
        """For what is gone at the end of the process."""
        return cls(None)

    def note(self, words: Iterable[str]) -> None:
        """Write down what is new. Raises PlaneError if that fails."""
        new = sorted(set(words) - self.words)
        if new and self._path is not None:
            try:
                with self._path.open("a") as file:
                    file.writelines(f"{word}\n" for word in new)
            except OSError as error:
                raise PlaneError(f"{self._path} cannot be written: {error.strerror}") from error
        self.words.update(new)

    def forget(self, words: Iterable[str]) -> None:
        """Strike out what needs no note any more. Raises PlaneError if that fails."""
        self.words.difference_update(words)
        if self._path is None:
            return
        beside = self._path.with_suffix(".new")
        try:
            beside.write_text("".join(f"{word}\n" for word in sorted(self.words)))
            beside.replace(self._path)
        except OSError as error:
            raise PlaneError(f"{self._path} cannot be written: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class Journals:
    """Those of one instance: reqids it has used, links it was about to make, what it found set."""

    reqids: Journal
    links: Journal
    defaults: Journal

    @classmethod
    def read(cls, runtime: RuntimePaths) -> Self:
        """From the instance's files."""
        return cls(*map(Journal.read, (runtime.reqids, runtime.links, runtime.former_defaults)))

    @classmethod
    def in_memory(cls) -> Self:
        """For what is gone at the end of the process."""
        return cls(Journal.in_memory(), Journal.in_memory(), Journal.in_memory())
