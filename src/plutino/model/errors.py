"""The families of errors: what the user wrote, what the wire held, what the kernel refused.

Every error that reaches a user is one of these; the command line turns each into one message and
one exit code, so no traceback is shown. A dropped packet is no error: see ``drop_reason``.
"""

import errno
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self


class PlutinoError(Exception):
    """Root of all errors raised on purpose; ``hint`` says what the user can do."""

    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding in a file that the user wrote: where, what was expected, and a hint."""

    file: str
    line: int | None
    key: str
    why: str
    hint: str | None = None

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        subject = f" {self.key}:" if self.key else ""
        text = f"{place}:{subject} {self.why}"
        return text if self.hint is None else f"{text}\n  hint: {self.hint}"


class ConfigError(PlutinoError):
    """All findings in the user's configuration at once (exit code 2)."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)

    @classmethod
    def single(
        cls, file: str, key: str, why: str, hint: str | None = None, line: int | None = None
    ) -> Self:
        """An error with one finding."""
        return cls([Problem(file, line, key, why, hint)])

    def in_file(self, file: str) -> "ConfigError":
        """The same, where the findings did not know their file."""
        return ConfigError([replace(one, file=one.file or file) for one in self.problems])


class WireError(PlutinoError):
    """Bytes that are not what their structure demands: what, at which offset, and why."""

    def __init__(self, what: str, *, offset: int, why: str) -> None:
        super().__init__(f"{what} at byte {offset}: {why}")
        self.what = what
        self.offset = offset
        self.why = why


class KernelError(PlutinoError):
    """A refusal by the kernel or the engine: the step, the errno and its own words (extack)."""

    def __init__(
        self, step: str, code: int, extack: str | None = None, hint: str | None = None
    ) -> None:
        name = errno.errorcode.get(code, str(code))
        words = extack or os.strerror(code)
        super().__init__(f"{step}: {words} ({name})")
        self.step = step
        self.errno = code
        self.extack = extack
        self.hint = hint


class BatchRefusedError(KernelError):
    """Some of many requests were refused: the first in words, all of them by their place.

    What ``refused`` does not name was carried out.
    """

    def __init__(self, refused: Mapping[int, KernelError]) -> None:
        first = refused[min(refused)]
        super().__init__(first.step, first.errno, first.extack, first.hint)
        self.refused = refused


class PlaneError(PlutinoError):
    """The data plane or the daemon cannot be reached or cannot do what is asked (exit code 1)."""

    def __init__(self, why: str, hint: str | None = None) -> None:
        super().__init__(why)
        self.hint = hint
