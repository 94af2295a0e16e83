"""Cookies against floods of first messages (RFC 7296, 2.6)."""

from ipaddress import ip_address
from random import Random

import pytest

from plutino.ike.cookies import ROTATE_AFTER, CookieJar
from plutino.ike.path import SocketAddress

SOURCE = SocketAddress(ip_address("192.0.2.1"), 500)
NONCE, SPI = bytes(range(32)), b"initiato"


def jar() -> CookieJar:
    return CookieJar(Random(1).randbytes)


@pytest.mark.parametrize(
    ("nonce", "spi", "source"),
    [
        (NONCE[::-1], SPI, SOURCE),
        (NONCE, SPI[::-1], SOURCE),
        (NONCE, SPI, SocketAddress(ip_address("192.0.2.2"), 500)),
        (NONCE, SPI, SocketAddress(SOURCE.address, 501)),
    ],
    ids=["nonce", "SPI", "address", "port"],
)
def test_a_cookie_is_bound_to_all_that_it_was_made_of(
    nonce: bytes, spi: bytes, source: SocketAddress
) -> None:
    here = jar()
    cookie = here.cookie(NONCE, SPI, SOURCE, 0.0)
    assert 1 <= len(cookie) <= 64
    assert here.accepts(cookie, NONCE, SPI, SOURCE, now=1.0)
    assert not here.accepts(cookie, nonce, spi, source, now=1.0)
    assert not here.accepts(b"", NONCE, SPI, SOURCE, now=1.0)
    assert not jar().accepts(cookie[:-1], NONCE, SPI, SOURCE, now=1.0)


def test_a_secret_goes_after_its_successor() -> None:
    here = jar()
    first = here.cookie(NONCE, SPI, SOURCE, 0.0)
    second = here.cookie(NONCE, SPI, SOURCE, ROTATE_AFTER)
    assert first != second
    assert here.accepts(first, NONCE, SPI, SOURCE, now=ROTATE_AFTER + 1)
    assert here.accepts(second, NONCE, SPI, SOURCE, now=ROTATE_AFTER + 1)
    assert not here.accepts(first, NONCE, SPI, SOURCE, now=2 * ROTATE_AFTER)
    assert not here.accepts(second, NONCE, SPI, SOURCE, now=10 * ROTATE_AFTER)
