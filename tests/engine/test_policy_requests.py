"""The engine's side of requests about policies: several clients, slow ones, many policies."""

import errno
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import closing
from ipaddress import ip_address
from pathlib import Path

import pytest

from plutino.dataplane.engine_client import EngineClient
from plutino.model.algorithms import AeadKey
from plutino.model.numbers import IfId, ReqId, Spi
from plutino.model.sa import SaDirection, SecurityAssociation
from plutino.model.secret import Secret
from plutino.netlink.socket import NetlinkSocket
from plutino.netlink.xfrm_client import XfrmClient
from tests.support.engine import engine_process, resident, wait_for_answer
from tests.support.policy_wire import migration, policy, policy_id, selector, template
from tests.support.raw_plane import (
    ACK,
    DELPOLICY,
    DUMP,
    FLUSHPOLICY,
    GETPOLICY,
    GETSPDINFO,
    MIGRATE,
    NEWPOLICY,
    NLMSG_DONE,
    NLMSG_ERROR,
    REQUEST,
    RawPlane,
    attribute,
    encode,
    engine_socket,
    join,
    parse,
)

TMPL, IF_ID, MIGRATE_LIST, ENCAP = 5, 31, 17, 4
GROUP_POLICY = 1 << 3
GROUP_MIGRATE = 1 << 6
GETSTAT = 0x86
BATCH = 200


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Path]:
    """The socket of an engine of the test's own."""
    with engine_process(tmp_path) as path:
        yield path


def chosen(number: int) -> bytes:
    """A selector for each number, between two hosts."""
    return selector(
        f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", "10.255.0.1", prefixes=(32, 32)
    )


def load(path: Path, count: int) -> float:
    """Add many policies; the seconds it took."""
    told = attribute(TMPL, template()) + attribute(IF_ID, b"\5\0\0\0")
    datagrams = []
    for first in range(0, count, BATCH):
        numbers = range(first, min(first + BATCH, count))
        messages = (
            encode(
                NEWPOLICY, policy(chosen(number)) + told, REQUEST | (number == numbers[-1]) * ACK
            )
            for number in numbers
        )
        datagrams.append(b"".join(messages))
    with engine_socket(path) as sock:
        start = time.perf_counter()
        for datagram in datagrams:
            sock.send(datagram)
            (reply,), _ports = parse(sock.recv(1 << 16))
            assert reply.errno == 0
        return time.perf_counter() - start


def read_dump(sock: socket.socket) -> int:
    """Read a dump to its end; how many policies it held."""
    count = 0
    while True:
        for reply in parse(sock.recv(1 << 16))[0]:
            if reply.kind == NLMSG_DONE:
                return count
            assert reply.kind == NEWPOLICY
            count += 1


def test_every_member_is_told_and_others_are_not(engine: Path) -> None:
    with (
        engine_socket(engine) as asking,
        engine_socket(engine) as member,
        engine_socket(engine) as other,
    ):
        join(member, GROUP_POLICY)
        join(asking, GROUP_POLICY)
        join(other, GROUP_MIGRATE)
        asking.send(encode(NEWPOLICY, policy(), REQUEST | ACK, sequence=11, port=12))
        for sock in (asking, member):
            (told,), ports = parse(sock.recv(1 << 16))
            assert (told.kind, told.sequence, ports) == (NEWPOLICY, 11, [12])
        assert parse(asking.recv(1 << 16))[0][0].kind == NLMSG_ERROR
        join(member, 0)
        asking.send(encode(FLUSHPOLICY, b"", REQUEST | ACK))
        assert parse(asking.recv(1 << 16))[0][0].kind == FLUSHPOLICY
        for sock in (member, other):
            sock.setblocking(False)
            with pytest.raises(BlockingIOError):
                sock.recv(1 << 16)


def test_a_slow_listener_is_told_once_that_it_lost_something(engine: Path) -> None:
    with engine_socket(engine) as slow, engine_socket(engine) as prompt:
        join(slow, GROUP_POLICY)
        load(engine, 6000)
        told = []
        while True:
            replies, _ports = parse(slow.recv(1 << 16))
            told += replies
            if told[-1].kind == NLMSG_ERROR:
                break
        assert told[-1].errno == errno.ENOBUFS
        assert {reply.kind for reply in told[:-1]} == {NEWPOLICY}
        assert 10 < len(told) < 6000
        with closing(EngineClient(engine)) as client:
            assert client.losses().notifications == 6000 - len(told[:-1])
        # It reads all anew, and from then on misses nothing.
        slow.send(encode(GETPOLICY, b"", REQUEST | DUMP))
        assert read_dump(slow) == 6000
        prompt.send(encode(DELPOLICY, policy_id(), REQUEST | ACK))
        assert parse(prompt.recv(1 << 16))[0][0].errno == errno.ENOENT
        prompt.send(encode(NEWPOLICY, policy(), REQUEST | ACK))
        assert parse(slow.recv(1 << 16))[0][0].kind == NEWPOLICY


def test_who_does_not_read_holds_up_nobody_and_costs_little(engine: Path) -> None:
    load(engine, 20_000)
    before = resident(engine)
    with engine_socket(engine) as idle, engine_socket(engine) as busy:
        for _request in range(20):
            idle.send(encode(GETPOLICY, b"", REQUEST | DUMP) * 100)
        for _request in range(100):
            busy.send(encode(GETSPDINFO, bytes(4), REQUEST))
            assert parse(busy.recv(1 << 16))[0][0].kind == GETSPDINFO - 1
        assert resident(engine) - before < 4 << 20
        assert read_dump(idle) == 20_000
    # And one that goes in the middle of it takes nothing with it.
    with engine_socket(engine) as busy:
        busy.send(encode(GETSPDINFO, bytes(4), REQUEST))
        assert parse(busy.recv(1 << 16))[0][0].kind == GETSPDINFO - 1


def test_what_is_asked_in_one_datagram_is_bounded(engine: Path) -> None:
    """Large answers to small requests: from some size on the rest is refused."""
    with engine_socket(engine) as sock:
        sock.send(encode(GETSTAT, b"", REQUEST) * 4000)
        errors = []
        received = 0
        while received < 4000:
            for reply in parse(sock.recv(1 << 20))[0]:
                received += 1
                if reply.kind == NLMSG_ERROR:
                    errors.append(reply.errno)
        assert set(errors) == {errno.ENOBUFS}
        assert received == 4000


def test_a_dump_shows_what_was_there_when_it_was_asked_for(engine: Path) -> None:
    load(engine, 5000)
    with engine_socket(engine) as dumping, RawPlane.engine(engine) as changing:
        dumping.send(encode(GETPOLICY, b"", REQUEST | DUMP))
        wait_for_answer(dumping)
        for number in range(100):
            changing.ask(DELPOLICY, policy_id(chosen(number)) + attribute(IF_ID, b"\5\0\0\0"))
            changing.ask(NEWPOLICY, policy(chosen(100_000 + number)))
        assert read_dump(dumping) == 4900


def test_many_policies(engine: Path) -> None:
    """6,000 well under a second, 100,000 in proportion, each within 1 KB."""
    few = load(engine, 6000)
    with RawPlane.engine(engine) as plane:
        plane.ask(FLUSHPOLICY)
    before = resident(engine)
    many = load(engine, 100_000)
    per_policy = (resident(engine) - before) / 100_000
    with engine_socket(engine) as sock:
        start = time.perf_counter()
        sock.send(encode(GETPOLICY, b"", REQUEST | DUMP))
        assert read_dump(sock) == 100_000
        dumped = time.perf_counter() - start
    print(
        f"6,000: {few:.3f} s, 100,000: {many:.3f} s, {per_policy:.0f} B each, dump {dumped:.3f} s"
    )
    assert few < 1
    assert many < 100_000 / 6000 * max(few, 0.1) * 2
    assert per_policy < 1024
    assert dumped < 10


def association(**changes: object) -> SecurityAssociation:
    """An SA between the addresses of ``template()``."""
    values: dict[str, object] = {
        "spi": Spi(0x1000),
        "source": ip_address("192.0.2.1"),
        "destination": ip_address("198.51.100.2"),
        "reqid": ReqId(1),
        "if_id": IfId(5),
        "keys": AeadKey("rfc4106(gcm(aes))", Secret(bytes(range(36))), 128),
        "direction": SaDirection.OUT,
    }
    return SecurityAssociation(**(values | changes))  # type: ignore[arg-type]


def migrate(plane: RawPlane, *more: bytes, if_id: int = 5) -> int:
    """Move what stands between the old addresses; the errno."""
    request = policy_id() + attribute(MIGRATE_LIST, migration()) + b"".join(more)
    return plane.ask(MIGRATE, request + attribute(IF_ID, struct.pack("=I", if_id)))[-1].errno


def test_migrate_moves_sas_and_keeps_everything_else(engine: Path) -> None:
    stays = association(spi=Spi(0x2000), reqid=ReqId(2))
    with RawPlane.engine(engine) as plane, NetlinkSocket.engine(engine) as sock:
        client = XfrmClient(sock)
        client.add_sa(association())
        client.add_sa(stays)
        assert migrate(plane) == errno.ENOENT
        told = attribute(TMPL, template()) + attribute(IF_ID, b"\5\0\0\0")
        plane.ask(NEWPOLICY, policy() + told)
        (before,) = [use for sa, use in client.list_sas() if sa.spi == 0x1000]
        assert migrate(plane, if_id=6) == errno.ENOENT
        assert migrate(plane) == 0
        moved = association(source=ip_address("203.0.113.1"), destination=ip_address("203.0.113.2"))
        assert dict(client.list_sas()).get(moved) == before
        assert {sa for sa, _use in client.list_sas()} == {moved, stays}
        back = migration(("203.0.113.2", "203.0.113.1"), ("198.51.100.2", "192.0.2.1"))
        for there in (back, migration()):  # what looks for templates' SAs finds it too
            request = policy_id() + attribute(MIGRATE_LIST, there) + attribute(IF_ID, b"\5\0\0\0")
            assert plane.ask(MIGRATE, request)[-1].errno == 0
            assert (moved in dict(client.list_sas())) == (there != back)
        client.delete_sa(moved)  # it is found by its new identity, and by that alone
        assert [sa for sa, _use in client.list_sas()] == [stays]


def test_a_migration_that_cannot_be_done_changes_nothing(engine: Path) -> None:
    """The new identity is taken; or there is a template to move, but an encapsulation unknown."""
    there = association(destination=ip_address("203.0.113.2"), reqid=ReqId(9))
    with RawPlane.engine(engine) as plane, NetlinkSocket.engine(engine) as sock:
        client = XfrmClient(sock)
        client.add_sa(association())
        client.add_sa(there)
        told = attribute(TMPL, template()) + attribute(IF_ID, b"\5\0\0\0")
        plane.ask(NEWPOLICY, policy() + told)
        before = plane.ask(GETPOLICY, flags=REQUEST | DUMP)
        plane.events()
        assert migrate(plane) == errno.ENODATA
        client.delete_sa(there)
        assert migrate(plane, attribute(ENCAP, b"\x63" + bytes(23))) == errno.ENODATA
        assert plane.ask(GETPOLICY, flags=REQUEST | DUMP) == before
        assert [sa for sa, _use in client.list_sas()] == [association()]
        assert {reply.kind for reply, _port in plane.events()} <= {0x11}
        udp = struct.pack("=H", 2) + struct.pack("!HH", 4500, 4501) + bytes(18)
        assert migrate(plane, attribute(ENCAP, udp)) == 0
        ((sa, _use),) = client.list_sas()
        assert sa.encapsulation is not None
        assert (sa.encapsulation.source_port, sa.encapsulation.destination_port) == (4500, 4501)
