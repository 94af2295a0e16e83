"""The daemon's end of the control socket."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from plutino.control.protocol import (
    LONGEST_LINE,
    Answer,
    ProtocolError,
    Request,
    encode_answer,
    parse_request,
)
from plutino.model.errors import PlutinoError

IDLE_TIMEOUT = 30.0
"""Seconds that a connection may say nothing."""
MOST_CONNECTIONS = 32

Handler = Callable[[Request], Awaitable[Answer]]


class ControlServer:
    """Answers requests one after the other on each connection; a broken one is told and closed."""

    def __init__(self, path: Path, handler: Handler) -> None:
        self._path = path
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._connections = 0

    async def start(self) -> None:
        """Listen, for the owner alone; the directory is closed to others already."""
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, self._path, limit=LONGEST_LINE)
        self._path.chmod(0o600)

    async def close(self) -> None:
        """Stop listening and take the name away."""
        if self._server is not None:
            self._server.close()
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            if self._connections > MOST_CONNECTIONS:
                writer.write(encode_answer(Answer(error="too many connections")))
            else:
                await self._answer_all(reader, writer)
            await writer.drain()
        except (OSError, TimeoutError):
            return
        finally:
            self._connections -= 1
            writer.close()

    async def _answer_all(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                line = await asyncio.wait_for(reader.readuntil(), IDLE_TIMEOUT)
            except asyncio.IncompleteReadError:
                return
            except asyncio.LimitOverrunError:
                answer = Answer(error=f"a request has at most {LONGEST_LINE} bytes")
                writer.write(encode_answer(answer))
                return
            try:
                answer = await self._handler(parse_request(line))
            except ProtocolError as error:
                writer.write(encode_answer(Answer(error=str(error))))
                return
            except PlutinoError as error:
                answer = Answer(error=str(error), hint=error.hint)
            writer.write(encode_answer(answer))
            with suppress(ConnectionError):
                await writer.drain()
