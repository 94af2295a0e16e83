"""Dumps of SAs, asked for by filters and read while SAs come and go."""

import socket
from dataclasses import replace

import pytest

from plutino.model.errors import KernelError
from plutino.netlink.wire import NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, Message, parse_messages
from plutino.netlink.xfrm.constants import MessageType, Xfrma
from plutino.netlink.xfrm.messages import XfrmMessage
from plutino.netlink.xfrm.structures import AddressFilter, UserSaInfo, UserSpiInfo, XfrmId
from tests.support.engine import resident, wait_for_answer
from tests.support.raw_plane import engine_socket
from tests.support.sa_requests import ELSEWHERE, ID, INFO, LOCAL, ONE, REMOTE, Engine

SAS = 4000


def load(engine: Engine, first: int, count: int) -> None:
    """Add SAs with the SPIs from ``first`` on."""
    messages = [
        XfrmMessage.build(
            MessageType.NEWSA, replace(INFO, id=replace(INFO.id, spi=spi)), ONE
        ).encode()
        for spi in range(first, first + count)
    ]
    engine.socket.request_many(
        [(MessageType.NEWSA, one, 0) for one in messages], lambda place: f"add {place}"
    )


def ask_for_dump(sock: socket.socket, times: int = 1) -> None:
    request = Message(MessageType.GETSA, NLM_F_REQUEST | NLM_F_DUMP, 1, 0, b"")
    sock.send(request.encode() * times)


def read_dump(sock: socket.socket) -> list[int]:
    """Read a dump to its end: the SPIs."""
    spis: list[int] = []
    while True:
        for message in parse_messages(sock.recv(1 << 16)):
            if message.type == NLMSG_DONE:
                return spis
            info = XfrmMessage.parse(message).fixed
            assert isinstance(info, UserSaInfo)
            spis.append(info.id.spi)


def test_dumps_by_protocol_and_address(engine: Engine) -> None:
    engine.add()
    engine.add(replace(INFO, id=XfrmId(ELSEWHERE, 0x2000, 50)))
    assert len(engine.dump()) == 2
    assert engine.dump(((Xfrma.PROTO, 51),)) == ()
    assert len(engine.dump(((Xfrma.PROTO, 255),))) == 2
    one = AddressFilter(LOCAL, ELSEWHERE, 2, 32, 24)
    (found,) = engine.dump(((Xfrma.ADDRESS_FILTER, one),))
    assert isinstance(found.fixed, UserSaInfo)
    assert found.fixed.id.spi == 0x2000
    assert engine.dump(((Xfrma.ADDRESS_FILTER, replace(one, family=10)),)) == ()
    with pytest.raises(KernelError):
        engine.dump(((Xfrma.ADDRESS_FILTER, replace(one, splen=129)),))


def test_a_dump_goes_from_the_newest_to_the_oldest(engine: Engine) -> None:
    """``xfrm_state_walk``: SAs and larval ones as they came; one that is updated stays."""
    load(engine, 9, 1)
    asked = UserSpiInfo(replace(INFO, flags=0, id=XfrmId(REMOTE, 0, 50)), 7, 7)
    engine.ask(MessageType.ALLOCSPI, asked)
    load(engine, 8, 1)
    engine.ask(MessageType.UPDSA, replace(INFO, id=replace(INFO.id, spi=9)), ONE)
    with engine_socket(engine.path) as sock:
        ask_for_dump(sock)
        assert read_dump(sock) == [8, 7, 9]


def test_sas_that_come_and_go_disturb_no_dump(engine: Engine) -> None:
    load(engine, 1, SAS)
    with engine_socket(engine.path) as dumping:
        ask_for_dump(dumping)
        wait_for_answer(dumping)
        gone = range(1, 101)
        for spi in gone:
            engine.ask(MessageType.DELSA, replace(ID, spi=spi))
        load(engine, SAS + 1, 100)
        assert read_dump(dumping) == list(range(SAS, gone[-1], -1))
        ask_for_dump(dumping)
        assert len(read_dump(dumping)) == SAS


def test_dumps_that_nobody_reads_take_no_memory(engine: Engine) -> None:
    """And hinder nobody; whoever goes in the middle of one takes nothing with it."""
    load(engine, 1, SAS)
    before = resident(engine.path)
    with engine_socket(engine.path) as idle:
        ask_for_dump(idle, times=500)
        for _request in range(100):
            engine.get(replace(ID, spi=SAS))
        assert resident(engine.path) - before < 4 << 20
        assert len(read_dump(idle)) == SAS
    engine.get(replace(ID, spi=SAS))
