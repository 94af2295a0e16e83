"""Packets that were damaged on their way, and trailers that do not fit; in every mode."""

import pytest

from tests.support.attack import NO_NEXT_HEADER, Attack, octets_of, sealed

pytestmark = pytest.mark.root


@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF], ids=hex)
def test_tampered_in_every_octet(attack: Attack, flip: int) -> None:
    # However its number is changed, it is above the window's.
    attack.sequence = 0x02020202
    octets = octets_of(attack.seal(attack.inner()))
    with attack.counted(XfrmInNoStates=4, XfrmInStateProtoError=len(octets) - 4):
        for place in range(len(octets)):
            changed_octets = bytearray(octets)
            changed_octets[place] ^= flip
            attack.send(attack.esp(bytes(changed_octets)))
    attack.sequence += 1


def test_truncated_at_every_length(attack: Attack) -> None:
    octets = octets_of(attack.seal(attack.inner()))
    with attack.counted(XfrmInHdrError=8, XfrmInStateProtoError=len(octets) - 8):
        for length in range(len(octets)):
            attack.send(attack.esp(octets[:length]))


def test_prolonged(attack: Attack) -> None:
    octets = octets_of(attack.seal(attack.inner()))
    with attack.counted(XfrmInStateProtoError=32):
        for length in range(1, 33):
            attack.send(attack.esp(octets + bytes(length)))


@pytest.mark.parametrize("length", [48, 49, 100, 255])
def test_a_padding_longer_than_the_packet(attack: Attack, length: int) -> None:
    text, next_header = attack.carried()
    with attack.counted(XfrmInStateProtoError=1):
        attack.send(attack.forge(text[:46].ljust(46, b"\0"), b"\1\2", length, next_header))


def test_nothing_but_padding(attack: Attack) -> None:
    _, next_header = attack.carried()
    with attack.counted(XfrmInStateProtoError=1):
        attack.send(attack.forge(b"", b"\1\2", 2, next_header))


def test_no_room_for_a_trailer(attack: Attack) -> None:
    with attack.counted(XfrmInStateProtoError=2):
        for plain in (b"", b"\4"):
            attack.send(attack.esp(sealed(attack.flow, attack.next(), plain)))


def test_a_dummy(attack: Attack) -> None:
    with attack.counted(XfrmInStateProtoError=2):
        attack.send(attack.forge(b"", b"\1\2", 2, NO_NEXT_HEADER))
        attack.send(attack.forge(b"any text there", b"", 0, NO_NEXT_HEADER))
