"""The holder's protocol: descriptors go in and come out under their names, and nothing leaks."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from plutino.dataplane.socket_holder import LONGEST, Holder, serve


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """Where a holder serves; it ends with the test."""
    path = tmp_path / "holder.sock"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(path))
    listener.listen()
    thread = threading.Thread(target=serve, args=(listener,))
    thread.start()
    yield path
    with suppress(ConnectionRefusedError), connected(path) as connection:
        ask(connection, "hold")
    thread.join(timeout=10)
    listener.close()
    assert not thread.is_alive()


def connected(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(10)
    connection.connect(str(path))
    return connection


def ask(connection: socket.socket, request: str, *descriptors: int) -> tuple[str, list[int]]:
    socket.send_fds(connection, [request.encode()], descriptors)
    answer, received, _flags, _address = socket.recv_fds(connection, LONGEST, 8)
    return answer.decode(), received


def pipe_words(descriptor: int) -> bytes:
    """What was written into a pipe; it is closed."""
    with os.fdopen(descriptor, "rb") as pipe:
        return pipe.read(5)


def test_what_one_hands_in_another_gets_out(path: Path) -> None:
    ends = os.pipe(), os.pipe()
    for (_read, write), words in zip(ends, (b"first", b"other"), strict=True):
        os.write(write, words)
    with connected(path) as one:
        assert ask(one, "fetch") == ("held", [])
        assert ask(one, "hold A B", ends[0][0], ends[1][0]) == ("done", [])
    for read, write in ends:
        os.close(read)
        os.close(write)
    with connected(path) as other:
        answer, received = ask(other, "fetch")
        assert answer == "held A B"
        assert [pipe_words(one) for one in received] == [b"first", b"other"]


def test_it_holds_exactly_what_was_handed_in_last(path: Path) -> None:
    read, write = os.pipe()
    with connected(path) as connection:
        ask(connection, "hold A B", write, write)
        ask(connection, "hold B", write)
        os.close(write)
        words, received = ask(connection, "fetch")
        assert words == "held B"
        os.close(received[0])
        assert ask(connection, "hold") == ("done", [])
        assert connection.recv(1) == b""  # it has ended
    assert os.read(read, 1) == b""  # nobody has the other end
    os.close(read)


@pytest.mark.parametrize(
    ("request_", "count"),
    [("hold A", 0), ("hold A", 2), ("hold A A", 2), ("hold", 1), ("fetch", 1), ("fetch A", 0),
     ("", 0), (" ", 1), ("drop A", 0), ("\xff\x00", 1), ("x" * LONGEST, 0)],
)  # fmt: skip
def test_nonsense_is_refused_and_its_descriptors_are_closed(request_: str, count: int) -> None:
    holder = Holder()
    kept, _ = os.pipe()
    holder.answer(b"hold KEPT", [kept])
    given = [os.dup(kept) for _ in range(count)]
    assert holder.answer(request_.encode("latin-1"), given) == ("refused", [])
    for one in given:
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(one)
    assert holder.held == {"KEPT": kept}
    os.fstat(kept)
    os.close(kept)
    os.close(_)


def test_more_descriptors_than_it_takes_are_refused(path: Path) -> None:
    read, write = os.pipe()
    names = " ".join(f"N{number}" for number in range(9))
    with connected(path) as connection:
        assert ask(connection, f"hold {names}", *[write] * 9) == ("refused", [])
        os.close(write)
        assert os.read(read, 1) == b""
        os.close(read)
        assert ask(connection, "fetch") == ("held", [])


def test_one_who_says_nothing_keeps_nobody_waiting(path: Path) -> None:
    with connected(path), connected(path) as half, connected(path) as other:
        half.shutdown(socket.SHUT_WR)
        assert ask(other, "fetch") == ("held", [])
