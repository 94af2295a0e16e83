"""Cookies against floods of first messages (RFC 7296, 2.6)."""

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256

from plutino.ike.path import SocketAddress

ROTATE_AFTER = 60.0
"""Seconds that a secret makes cookies; for as long again they are still taken."""
_SECRET_SIZE = 32
_COOKIE_SIZE = 24


@dataclass(slots=True)
class CookieJar:
    """Makes and checks cookies without keeping one.

    A cookie binds nonce, SPI and source of a request to a secret that changes: only who receives
    at that address can send it back.
    """

    random: Callable[[int], bytes]
    made_at: float = float("-inf")
    secrets: list[bytes] = field(default_factory=list, repr=False)

    def cookie(self, nonce: bytes, spi: bytes, source: SocketAddress, now: float) -> bytes:
        """The cookie to ask for."""
        self._rotate(now)
        return _cookie(self.secrets[0], nonce, spi, source)

    def accepts(
        self, cookie: bytes, nonce: bytes, spi: bytes, source: SocketAddress, *, now: float
    ) -> bool:
        """Whether a cookie is one of ours, of the last two secrets."""
        self._rotate(now)
        found = False
        for secret in self.secrets:
            found |= hmac.compare_digest(_cookie(secret, nonce, spi, source), cookie)
        return found

    def _rotate(self, now: float) -> None:
        if now - self.made_at >= ROTATE_AFTER:
            keep = self.secrets[:1] if now - self.made_at < 2 * ROTATE_AFTER else []
            self.secrets = [self.random(_SECRET_SIZE), *keep]
            self.made_at = now


def _cookie(secret: bytes, nonce: bytes, spi: bytes, source: SocketAddress) -> bytes:
    data = nonce + spi + source.address.packed + source.port.to_bytes(2, "big")
    return hmac.new(secret, data, sha256).digest()[:_COOKIE_SIZE]
