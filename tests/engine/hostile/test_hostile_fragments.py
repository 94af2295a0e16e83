"""Outer packets in pieces: whole, overlapping, without end, as long as can be; in every mode."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.attack import (
    ESP_OVERHEAD,
    EVERY_MODE,
    LONGEST,
    Attack,
    fragments,
    octets_of,
    piece,
)
from tests.support.engine_lab import EngineCase, engine_lab
from tests.support.esp_judge import framed

pytestmark = pytest.mark.root


@pytest.mark.parametrize("order", [list, reversed], ids=("in_order", "reversed"))
def test_outer_fragments_arrive(
    attack: Attack, order: Callable[[list[Any]], Iterator[Any]]
) -> None:
    inner = attack.inner(bytes(range(256)) * 12)
    before = attack.lab.two.drops()
    for one in order(fragments(attack.seal(inner), 512, 7)):
        attack.send(one)
    assert without_identification(attack.lab.two.await_delivery()) == without_identification(inner)
    assert attack.lab.two.drops() == before


def without_identification(packet: bytes) -> bytes:
    """Nor flags and checksum: an IPv4 header that is made again has those of the outer packet."""
    if packet[0] >> 4 == 6:
        return packet
    return packet[:4] + bytes(4) + packet[8:10] + bytes(2) + packet[12:]


def test_overlapping_fragments(attack: Attack) -> None:
    packet = attack.seal(attack.inner(bytes(200)))
    body = octets_of(packet)
    middle = len(body) // 16 * 8
    # What is left of them waits for more of its number: those of each SA are its own.
    numbers = range(attack.flow.spi * 4, attack.flow.spi * 4 + 3)
    with attack.counted():
        for number, start in zip(numbers, (middle - 8, 8, middle - 64), strict=True):
            attack.send(piece(packet, body[:middle], 0, True, number))
            attack.send(piece(packet, body[start:], start, False, number))
            attack.send(piece(packet, body[middle:], middle, False, number))


@pytest.mark.parametrize("case", EVERY_MODE, ids=str)
def test_fragments_without_end(case: EngineCase) -> None:
    outer = case.outer
    with engine_lab() as lab:
        attack = Attack(lab, case)
        attack.assert_good_passes()
        packet = attack.seal(attack.inner(bytes(1000)))
        body = octets_of(packet)
        before = lab.two.status("VmRSS")
        template = bytearray(framed(piece(packet, body[:512], 0, True, 0), lab.one, lab.two))
        place = 14 + 4 if outer == 4 else 14 + 40 + 4
        size = 2 if outer == 4 else 4
        with attack.counted():
            for number in range(1, 8001):
                template[place : place + size] = number.to_bytes(size, "big")
                if outer == 4:
                    template[24:26] = ipv4_sum(template[14:34])
                lab.one.transmit(bytes(template))
            for at in range(0, LONGEST - 600, 512):
                attack.send(piece(packet, body[:512], at, True, 9000))
        assert lab.two.status("VmRSS") - before < 512


def ipv4_sum(header: bytearray) -> bytes:
    """The header's checksum, which stands in its octets 10 and 11."""
    header[10:12] = bytes(2)
    total = sum(int.from_bytes(header[at : at + 2], "big") for at in range(0, 20, 2))
    total = (total & 0xFFFF) + (total >> 16)
    return (~(total + (total >> 16)) & 0xFFFF).to_bytes(2, "big")


def test_the_longest_packet_comes_whole(attack: Attack) -> None:
    room = LONGEST - (20 if attack.case.outer == 4 else 0) - ESP_OVERHEAD
    header = len(attack.inner(b"")) - len(attack.carried(b"")[0])
    longest = min(room // 4 * 4 - 2, LONGEST - header) + header
    inner = attack.inner(bytes(longest - len(attack.inner(b""))))
    before = attack.lab.two.drops()
    for one in fragments(attack.seal(inner), 1448, 77):
        attack.send(one)
    assert without_identification(attack.lab.two.await_delivery()) == without_identification(inner)
    assert attack.lab.two.drops() == before
    attack.assert_good_passes()
