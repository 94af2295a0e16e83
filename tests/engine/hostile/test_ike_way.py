"""IKE that comes to the engine's port 4500 goes to a socket that it was given for that."""

import socket
import struct
from dataclasses import replace
from ipaddress import ip_address

import pytest

from plutino.ike.path import Path, SocketAddress
from plutino.ike_process.receiving import NON_ESP_MARKER, Came, Rows, Source
from plutino.model.sa import Encapsulation
from tests.support.attack import TUNNELS, Attack
from tests.support.engine_lab import ONE, OUTER, TWO, EngineLab
from tests.support.esp_judge import framed
from tests.support.until import until

pytestmark = pytest.mark.root


@pytest.fixture(params=TUNNELS, ids=str)
def attack(lab: EngineLab, request: pytest.FixtureRequest) -> Attack:
    return Attack(lab, replace(request.param, encapsulation=Encapsulation.UDP))


def message(size: int = 28, *, version: int = 0x20, says: int | None = None) -> bytes:
    told = size if says is None else says
    head = b"initiatoresponde" + bytes((46, version, 37, 8)) + struct.pack("!II", 7, told)
    return head.ljust(size, b"x")[:size]


def given(attack: Attack) -> socket.socket:
    """Where the receiver's engine writes it from now on."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        attack.lab.two.client.hear_ike(its.fileno())
    return ours


def test_what_can_be_ike_comes_with_both_ends(attack: Attack) -> None:
    rows, came = Rows(), list[Came]()
    good = [message(), message(1200), message(40, version=0x30)]
    garbage = [
        message(27),
        message(40, says=41),
        message(40, says=39),
        message(40, version=0x10),
        b"",
        bytes(40),
    ]
    with given(attack) as ours:
        for one in (*garbage, good[0], *garbage, *good[1:]):
            attack.send(attack.esp(NON_ESP_MARKER + one))
        attack.send(attack.esp(b"\xff"))

        def heard() -> bool:
            came.extend(rows.read(ours, Source.ENGINE, 4500)[1])
            return len(came) >= len(good)

        until(heard, "all that can be IKE")
        attack.assert_good_passes()
        came += rows.read(ours, Source.ENGINE, 4500)[1]
        assert [one.payload for one in came] == good
        version = attack.case.outer
        here, there = (SocketAddress(ip_address(OUTER[version][end]), 4500) for end in (TWO, ONE))
        assert {one.path for one in came} == {Path(here, there)}


def test_who_does_not_read_holds_up_no_packet(attack: Attack) -> None:
    """Nor does one that is gone; another takes its place."""
    rows = Rows()
    with given(attack) as ours:
        packet = attack.esp(NON_ESP_MARKER + message(1200))
        frame = framed(packet, attack.lab.one, attack.lab.two)
        for _ in range(6000):  # more than any buffer holds
            attack.lab.one.transmit(frame)
        attack.assert_good_passes()
        assert rows.read(ours, Source.ENGINE, 4500)[0] > 0
    attack.send(attack.esp(NON_ESP_MARKER + message()))
    attack.assert_good_passes()
    with given(attack) as ours:
        attack.send(attack.esp(NON_ESP_MARKER + message()))
        until(lambda: rows.read(ours, Source.ENGINE, 4500)[0] == 1, "the new one hears")
