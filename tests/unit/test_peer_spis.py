"""Two CHILD_SAs by which a data plane would send with one SA."""

from dataclasses import replace
from ipaddress import ip_address

from plutino.daemon.peer_spis import PeerSpis
from plutino.model.numbers import Spi
from tests.support.roaming import CHILD

OTHER = replace(CHILD, tunnel="rome", spi_in=Spi(0x1002))


def test_the_first_has_it_and_the_next_once_it_is_free() -> None:
    words: list[str] = []
    spis = PeerSpis(words.append)
    assert spis.allot("berlin", (), (CHILD,)) == (CHILD,)
    assert spis.allot("rome", (), (OTHER,)) == ()
    (told,) = words
    assert told.startswith("error: no CHILD_SA for tunnel 'rome': 203.0.113.9 has SPI 0x2001")
    assert spis.allot("berlin", (CHILD,), (CHILD,)) == (CHILD,)
    assert spis.allot("rome", (), (OTHER,)) == ()
    assert spis.allot("berlin", (CHILD,), ()) == ()
    assert spis.allot("rome", (), (OTHER,)) == (OTHER,)


def test_who_goes_without_does_not_free_it() -> None:
    spis = PeerSpis(lambda _: None)
    assert spis.allot("berlin", (), (CHILD,)) == (CHILD,)
    assert spis.allot("rome", (OTHER,), ()) == ()
    assert spis.allot("rome", (), (OTHER,)) == ()


def test_another_address_or_spi_is_another() -> None:
    spis = PeerSpis(lambda _: None)
    elsewhere = replace(OTHER, remote=ip_address("203.0.113.10"))
    another = replace(OTHER, spi_in=Spi(0x1003), spi_out=Spi(0x2002))
    assert spis.allot("berlin", (), (CHILD,)) == (CHILD,)
    assert spis.allot("rome", (), (elsewhere, another)) == (elsewhere, another)


def test_of_one_peers_two_the_older_stays() -> None:
    spis = PeerSpis(lambda _: None)
    twin = replace(CHILD, spi_in=Spi(0x1009))
    assert spis.allot("berlin", (), (CHILD, twin)) == (CHILD,)
