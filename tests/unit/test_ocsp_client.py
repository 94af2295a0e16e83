"""A responder by HTTP: what goes there, what is taken, and how long anybody waits."""

import asyncio
from ipaddress import ip_address

import pytest

from plutino.daemon import ocsp_client
from plutino.daemon.ocsp_client import LARGEST, OcspClient, Outside
from plutino.ike.auth.ocsp import StatusQuestion

HERE = Outside(ip_address("127.0.0.1"), 0)
GOOD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/ocsp-response; x=y\r\n"
    b"Content-Length: 3\r\n\r\nabc and no more"
)
NO_LENGTH = b"HTTP/1.0 200 OK\r\nContent-Type: application/ocsp-response\r\n\r\n"


class Exchange:
    """A server that answers with these octets, and what came of a question to it."""

    def __init__(self, reply: bytes, *, stays: bool = False) -> None:
        self.reply, self.stays = reply, stays
        self.heard = b""
        self.log: list[str] = []
        self.answers: list[bytes] = []

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heard = head + await reader.readexactly(5)
        writer.write(self.reply)
        await writer.drain()
        if self.stays:
            await reader.read()
        writer.close()

    def ask(
        self,
        path: str = "/a?b",
        *,
        anywhere: bool = True,
        url: str | None = None,
        request: bytes = b"asked",
    ) -> bytes:
        """The one answer, which is given in any case."""

        async def work() -> None:
            done = asyncio.Event()

            def answer(question: StatusQuestion, response: bytes) -> None:
                assert question.request == request
                self.answers.append(response)
                done.set()

            server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            client = OcspClient(answer, self.log.append)
            where = url or f"http://127.0.0.1:{port}{path}"
            client.ask(StatusQuestion(where, request), HERE, anywhere=anywhere)
            async with asyncio.timeout(20):
                await done.wait()
            client.close()
            server.close()

        asyncio.run(work())
        (found,) = self.answers
        return found


def test_a_request_is_posted_and_its_answer_taken() -> None:
    """From a server that says how much it is, and goes on; and from one that just ends."""
    exchange = Exchange(GOOD, stays=True)
    assert exchange.ask() == b"abc"
    assert exchange.heard.startswith(b"POST /a?b HTTP/1.0\r\nHost: 127.0.0.1:")
    assert b"\r\nContent-Type: application/ocsp-request\r\nContent-Length: 5\r\n" in exchange.heard
    assert exchange.heard.endswith(b"\r\n\r\nasked")
    whole = b"x" * LARGEST
    assert Exchange(NO_LENGTH + whole).ask("") == whole
    assert exchange.log == []


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\n\r\n", "'HTTP/1.1 302 Found'"),
        (b"HTTP/1.1 500 \x1b[31m\r\n\r\n", r"'HTTP/1.1 500 \x1b[31m'"),
        (GOOD.replace(b"ocsp-response", b"html"), "answers by 'application/html'"),
        (GOOD.replace(b": 3", b": -3"), f"more than {LARGEST}"),
        (GOOD.replace(b": 3", b": 16385"), f"more than {LARGEST}"),
        (GOOD.replace(b": 3", b": 50"), "15 bytes read on a total of 50"),
        (NO_LENGTH + b"x" * (LARGEST + 1), f"more than {LARGEST}"),
        (NO_LENGTH[:-2] + b"A: " + b"x" * LARGEST + b"\r\n\r\n", "headers are too long"),
        (b"SSH-2.0-\r\n\r\n", "'SSH-2.0-'"),
        (b"", "0 bytes read"),
    ],
)
def test_another_answer_is_none_and_the_log_says_why(reply: bytes, why: str) -> None:
    exchange = Exchange(reply)
    assert exchange.ask() == b""
    (line,) = exchange.log
    assert line.startswith("warning: http://127.0.0.1:")
    assert why in line


@pytest.mark.parametrize("reply", [b"", GOOD[:20], NO_LENGTH + b"more to come"])
def test_nobody_waits_for_long(monkeypatch: pytest.MonkeyPatch, reply: bytes) -> None:
    monkeypatch.setattr(ocsp_client, "_PATIENCE", 0.05)
    exchange = Exchange(reply, stays=True)
    assert exchange.ask() == b""
    assert "does not answer" in exchange.log[0]


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/", "http://[::1]/", "http://169.254.169.254/latest", "http://0.0.0.0/",
        "http://[::ffff:127.0.0.1]/", "http://[fe80::1]/", "http://localhost/", "http://224.0.0.1/",
    ],
)  # fmt: skip
def test_a_certificate_does_not_lead_to_services_of_this_machine(url: str) -> None:
    exchange = Exchange(GOOD)
    assert exchange.ask(url=url, anywhere=False) == b""
    assert "only `ocsp-url` may" in exchange.log[0]
    assert exchange.heard == b""


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1/", "file:///etc/passwd", "http://127.0.0.1/\r\nX: y"]
)
def test_what_is_no_plain_http_is_not_asked(url: str) -> None:
    exchange = Exchange(GOOD)
    assert exchange.ask(url=url) == b""
    assert (exchange.heard, exchange.log) == (b"", [])


def test_what_is_too_long_for_a_question_goes_nowhere() -> None:
    exchange = Exchange(GOOD)
    assert exchange.ask(request=bytes(1 << 10)) == b"abc"
    exchange = Exchange(GOOD)
    assert exchange.ask(request=bytes((1 << 10) + 1)) == b""
    assert (exchange.heard, exchange.log) == (b"", [])


def test_nothing_listens() -> None:
    exchange = Exchange(GOOD)
    assert exchange.ask(url="http://127.0.0.1:1/") == b""
    assert "Connection refused" in exchange.log[0]


def test_few_are_asked_at_once_and_few_may_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred questions to a responder that keeps all of them waiting."""
    monkeypatch.setattr(ocsp_client, "_PATIENCE", 0.3)

    async def work() -> None:
        connections = 0
        answers: list[bytes] = []
        done = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal connections
            connections += 1
            await reader.read()
            writer.close()

        def answer(_: StatusQuestion, response: bytes) -> None:
            answers.append(response)
            if len(answers) == 100:
                done.set()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        client = OcspClient(answer, lambda _: None)
        for number in range(100):
            client.ask(StatusQuestion(url, bytes((number,))), HERE, anywhere=True)
        assert answers == [b""] * 36
        async with asyncio.timeout(20):
            await done.wait()
        assert 8 <= connections < 32  # their time is over together
        server.close()

    asyncio.run(work())
