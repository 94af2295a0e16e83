"""A guest's output, cut where the guest announces its end.

A guest ends each stream with the job's token, a space, the exit code and a semicolon. The token is
random, so no command can say it by accident, and what was said before it passes on at once.
"""

import re
from dataclasses import dataclass, field


@dataclass(slots=True)
class Stream:
    """One of the guest's streams; ``code`` is set once its end was announced."""

    token: bytes
    code: int | None = None
    _held: bytes = field(default=b"", init=False)

    def feed(self, octets: bytes) -> bytes:
        """Take what came; what is to be passed on now. What follows the end is nobody's."""
        if self.code is not None:
            return b""
        text = self._held + octets
        end = text.find(self.token)
        if end < 0:
            end = len(text) - self._length_of_beginning(text)
        elif announced := re.match(rb" (\d+);", text[end + len(self.token) :]):
            self.code = int(announced[1])
            self._held = b""
            return text[:end]
        self._held = text[end:]
        return text[:end]

    def close(self) -> bytes:
        """The stream broke off: what was held back."""
        held, self._held = self._held, b""
        return held

    def _length_of_beginning(self, text: bytes) -> int:
        """How much of the end may be the token's beginning."""
        for length in range(min(len(self.token) - 1, len(text)), 0, -1):
            if self.token.startswith(text[-length:]):
                return length
        return 0
