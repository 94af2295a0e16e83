"""In which line of a TOML text each key stands, so that an error can point there.

The text is known to be valid TOML (``tomllib`` has read it); this scanner only finds places.
"""

import re
from collections.abc import Mapping
from typing import Final

KeyPath = tuple[str | int, ...]
Finding = tuple[KeyPath, str, str | None]
"""Where something is wrong, why, and a hint."""

_BLANK: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_INLINE_BLANK: Final = re.compile(r"[ \t]*")
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR: Final = re.compile(r"[^,\]}\s#]+(?: [0-9:.Z+-]+)?")
_STRINGS: Final = (
    re.compile(r'"""(?:\\.|[^\\])*?"{3,5}', re.DOTALL),
    re.compile(r"'''.*?'{3,5}", re.DOTALL),
    re.compile(r'"(?:\\.|[^"\\\n])*"'),
    re.compile(r"'[^'\n]*'"),
)
_ESCAPE: Final = re.compile(r"\\(u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)")
_SHORT_ESCAPES: Final = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r"}


def key_lines(text: str) -> Mapping[KeyPath, int]:
    """Line (from 1) of every key, table and array element, by its path."""
    return _Scanner(text).scan()


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._counted = 0
        self._lines: dict[KeyPath, int] = {}
        self._array_tables: dict[KeyPath, int] = {}

    def scan(self) -> Mapping[KeyPath, int]:
        table: KeyPath = ()
        self._skip(_BLANK)
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip(_BLANK)
        return self._lines

    def _header(self) -> KeyPath:
        is_array = self._text.startswith("[[", self._at)
        line = self._current_line()
        self._at += 2 if is_array else 1
        keys = self._keys()
        self._at += 2 if is_array else 1
        path = self._through_array_tables(keys[:-1])
        path = (*path, keys[-1]) if is_array else self._through_array_tables(keys)
        if is_array:
            number = self._array_tables.get(path, -1) + 1
            self._array_tables[path] = number
            self._lines.setdefault(path, line)
            path = (*path, number)
        for length in range(1, len(path) + 1):
            self._note(path[:length], line)
        return path

    def _through_array_tables(self, keys: KeyPath) -> KeyPath:
        """A path whose steps into an array of tables mean its latest element."""
        path: KeyPath = ()
        for key in keys:
            path = (*path, key)
            if path in self._array_tables:
                path = (*path, self._array_tables[path])
        return path

    def _pair(self, table: KeyPath) -> None:
        line = self._current_line()
        path = (*table, *self._keys())
        for length in range(len(table) + 1, len(path)):
            self._note(path[:length], line)
        self._lines[path] = line
        self._skip(_INLINE_BLANK)
        self._at += 1  # the equals sign
        self._skip(_INLINE_BLANK)
        self._value(path)

    def _keys(self) -> KeyPath:
        keys: list[str] = []
        while True:
            self._skip(_INLINE_BLANK)
            if self._text[self._at] in "\"'":
                keys.append(self._string())
            else:
                keys.append(self._take(_BARE))
            self._skip(_INLINE_BLANK)
            if not self._text.startswith(".", self._at):
                return tuple(keys)
            self._at += 1

    def _value(self, path: KeyPath) -> None:
        first = self._text[self._at]
        if first == "[":
            self._array(path)
        elif first == "{":
            self._inline_table(path)
        elif first in "\"'":
            self._string()
        else:
            self._take(_SCALAR)

    def _array(self, path: KeyPath) -> None:
        self._at += 1
        number = 0
        self._skip(_BLANK)
        while self._text[self._at] != "]":
            self._lines[(*path, number)] = self._current_line()
            self._value((*path, number))
            number += 1
            self._skip(_BLANK)
            if self._text[self._at] == ",":
                self._at += 1
                self._skip(_BLANK)
        self._at += 1

    def _inline_table(self, path: KeyPath) -> None:
        self._at += 1
        self._skip(_BLANK)
        while self._text[self._at] != "}":
            self._pair(path)
            self._skip(_BLANK)
            if self._text[self._at] == ",":
                self._at += 1
                self._skip(_BLANK)
        self._at += 1

    def _string(self) -> str:
        for pattern in _STRINGS:
            if match := pattern.match(self._text, self._at):
                self._at = match.end()
                quoted = match[0]
                if quoted[0] == "'":
                    return quoted.strip("'")
                return _ESCAPE.sub(_unescape, quoted[1:-1])
        raise AssertionError("valid TOML has a closing quote")

    def _note(self, path: KeyPath, line: int) -> None:
        self._lines.setdefault(path, line)

    def _skip(self, pattern: re.Pattern[str]) -> None:
        self._take(pattern)

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        assert match is not None, "valid TOML has what is looked for"
        self._at = match.end()
        return match[0]

    def _current_line(self) -> int:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line


def _unescape(match: re.Match[str]) -> str:
    code = match[1]
    if code[0] in "uU" and len(code) > 1:
        return chr(int(code[1:], 16))
    return _SHORT_ESCAPES.get(code, code)
