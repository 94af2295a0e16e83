"""Asks OCSP responders by HTTP (RFC 6960, appendix A) for the IKE process, which has no network.

It is the edge's own asyncio, and no library's: each connection needs a mark and a source address,
so that it goes outside of tunnels as IKE itself does, and one limit of time for all of it, names
included. There is one POST, no redirect, no TLS: what comes is signed, and judged elsewhere. A
certificate's own URL leads to no address of this machine.
"""

import asyncio
import http.client
import io
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from plutino.daemon.names import ask_resolver
from plutino.dataplane.underlay import bypass_policies
from plutino.ike.auth.ocsp import USABLE_URL, StatusQuestion
from plutino.model.errors import PlutinoError
from plutino.model.policy import IpAddress
from plutino.netlink.route_client import RouteClient

LARGEST: Final = 1 << 14
"""Octets of an answer, and of its headers; with the responder's certificate it takes about 2 KB."""
_LARGEST_REQUEST: Final = 1 << 10
"""One about a certificate takes some 150 octets; the process that makes it is not trusted."""
_PATIENCE: Final = 4.0
"""Seconds for an answer; the IKE process waits for a little longer."""
_AT_ONCE: Final = 8
_MOST_WAITING: Final = 64
_ASKS: Final = "application/ocsp-request"
_ANSWERS: Final = "application/ocsp-response"


@dataclass(frozen=True, slots=True)
class Outside:
    """How IKE's own packets to a peer go: from an address, if there is one, and with a mark."""

    source: IpAddress | None
    mark: int


class OcspClient:
    """``answer`` gets what a responder has sent, or nothing."""

    def __init__(
        self, answer: Callable[[StatusQuestion, bytes], None], log: Callable[[str], None]
    ) -> None:
        self._answer = answer
        self._log = log
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, question: StatusQuestion, outside: Outside, *, anywhere: bool) -> None:
        """A question, whose answer comes later. A certificate's own URL leads not ``anywhere``."""
        is_sound = USABLE_URL.fullmatch(question.url) and len(question.request) <= _LARGEST_REQUEST
        if not is_sound or len(self._tasks) >= _MOST_WAITING:
            self._answer(question, b"")
            return
        work = self._ask(question, outside, anywhere=anywhere)
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """No more answers."""
        for task in self._tasks:
            task.cancel()

    async def _ask(self, question: StatusQuestion, outside: Outside, *, anywhere: bool) -> None:
        found = b""
        try:
            async with asyncio.timeout(_PATIENCE), self._turns:
                found = await _post(question, outside, anywhere=anywhere)
        except TimeoutError:
            self._log(f"warning: {question.url} does not answer")
        except (OSError, ValueError, EOFError, http.client.HTTPException) as error:
            number = error.errno if isinstance(error, OSError) else None
            self._log(f"warning: {question.url}: {os.strerror(number) if number else error}")
        except asyncio.LimitOverrunError:
            self._log(f"warning: {question.url}: its headers are too long")
        self._answer(question, found)


async def _post(question: StatusQuestion, outside: Outside, *, anywhere: bool) -> bytes:
    """OSError, ValueError and others with the reason why there is no answer."""
    parts = urlsplit(question.url)
    address = await _address(parts.hostname or "", outside)
    if not anywhere and not _is_for_all(address, outside.mark):
        raise ValueError(f"leads to {address}: only `ocsp-url` may")
    opened = _open(address, outside)
    try:
        await asyncio.get_running_loop().sock_connect(opened, (str(address), parts.port or 80))
        reader, writer = await asyncio.open_connection(sock=opened, limit=LARGEST)
    except BaseException:
        opened.close()
        raise
    try:
        query = f"?{parts.query}" if parts.query else ""
        head = (
            f"POST {parts.path or '/'}{query} HTTP/1.0\r\n"
            f"Host: {parts.netloc.rpartition('@')[2]}\r\n"
            f"Content-Type: {_ASKS}\r\nContent-Length: {len(question.request)}\r\n\r\n"
        )
        writer.write(head.encode() + question.request)
        return await _read(reader)
    finally:
        writer.close()


async def _address(host: str, outside: Outside) -> IpAddress:
    """Of the IP version that IKE goes by, if there is one."""
    with suppress(ValueError):
        return ip_address(host)
    preferred = 4 if outside.source is None else outside.source.version
    why = ""
    for version in (preferred, 10 - preferred):
        found = await ask_resolver((host, version))
        if not isinstance(found, str):
            return found[0]
        why = why or found
    raise OSError(why)


def _is_for_all(address: IpAddress, mark: int) -> bool:
    """Not this machine's own services, by whichever of its addresses, nor what a cloud tells it.

    ValueError where the kernel does not say.
    """
    if (
        address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or (address.version == 6 and address.ipv4_mapped is not None)
    ):
        return False
    try:
        with RouteClient() as routes:
            return not routes.is_of_this_machine(address, mark)
    except PlutinoError as error:
        raise ValueError(str(error)) from error


def _open(address: IpAddress, outside: Outside) -> socket.socket:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    opened = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        opened.setblocking(False)
        with suppress(OSError):  # a kernel without XFRM has no policies to go past
            bypass_policies(opened)
        if outside.mark:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, outside.mark)
        source = outside.source
        if source is not None and source.version == address.version and not source.is_link_local:
            opened.bind((str(source), 0))
    except OSError:
        opened.close()
        raise
    return opened


async def _read(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    status, _, rest = head.partition(b"\r\n")
    words = status.split(maxsplit=2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or words[1] != b"200":
        raise ValueError(f"answers {status[:60].decode('latin-1')!a}")
    headers = http.client.parse_headers(io.BytesIO(rest))
    if headers.get_content_type() != _ANSWERS:
        raise ValueError(f"answers by {headers.get_content_type()[:60]!a}")
    length = headers.get("Content-Length")
    if length is None:
        octets = await reader.read(LARGEST + 1)
        while len(octets) <= LARGEST and (more := await reader.read(LARGEST)):
            octets += more
    else:
        if not length.isascii() or not length.isdigit() or int(length) > LARGEST:
            raise ValueError(f"answers more than {LARGEST} bytes")
        octets = await reader.readexactly(int(length))
    if len(octets) > LARGEST:
        raise ValueError(f"answers more than {LARGEST} bytes")
    return octets
