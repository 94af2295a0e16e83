"""The control socket's language: one JSON object per line, a request and its answer. Pure."""

import json
from dataclasses import dataclass
from typing import Any

from plutino.model.errors import PlutinoError

VERSION = 1
LONGEST_LINE = 64 << 10
"""Bytes of a request; answers may be longer."""
METHODS = ("ping", "status", "plan", "reload", "stop")


class ProtocolError(PlutinoError):
    """A line that is no request or no answer."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the daemon is asked to do."""

    method: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The result, or words why not with a hint."""

    result: Any = None
    error: str | None = None
    hint: str | None = None


def encode_request(request: Request) -> bytes:
    """One line."""
    return _line({"version": VERSION, "method": request.method})


def parse_request(line: bytes) -> Request:
    """From one line; ProtocolError for anything else."""
    document = _object(line)
    if document.get("version") != VERSION:
        raise ProtocolError(f"'version' must be {VERSION}")
    method = document.get("method")
    if method not in METHODS:
        raise ProtocolError(f"'method' must be one of {', '.join(METHODS)}")
    return Request(method)


def encode_answer(answer: Answer) -> bytes:
    """One line."""
    if answer.error is not None:
        return _line({"version": VERSION, "error": answer.error, "hint": answer.hint})
    return _line({"version": VERSION, "result": answer.result})


def parse_answer(line: bytes) -> Answer:
    """From one line; ProtocolError for anything else."""
    document = _object(line)
    error, hint = document.get("error"), document.get("hint")
    if error is not None and not isinstance(error, str):
        raise ProtocolError("'error' is no text")
    return Answer(document.get("result"), error, hint if isinstance(hint, str) else None)


def _line(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def _object(line: bytes) -> dict[str, Any]:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ProtocolError("this is no JSON") from error
    if not isinstance(document, dict):
        raise ProtocolError("this is no JSON object")
    return document
