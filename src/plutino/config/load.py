"""The text of a gateway file to a ``Gateway``, with all problems at once. Pure."""

import difflib
import re
import tomllib
from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from plutino.config.checks import check_gateway
from plutino.config.device import DeviceSettings
from plutino.config.gateway import Gateway, PolicyDefault
from plutino.config.group import Group, GroupProbeOptions
from plutino.config.ike import IkeKeying
from plutino.config.interface_options import InterfaceOptions
from plutino.config.pairs import separate_pairs
from plutino.config.positions import KeyPath, key_lines
from plutino.config.tunnel import OffloadOptions, Standby, StaticKeying, Tunnel
from plutino.config.uplink import ProbeOptions, Uplink
from plutino.model.errors import ConfigError, Problem

_EXAMPLE: Final = (
    'write `[tunnels.NAME]` with `interface = "ipsec1"`, `local`, `remote`, and `ike.psk-file`'
)
_TABLES: Final[Mapping[str, type[BaseModel]]] = {
    "": Gateway,
    "policy-default": PolicyDefault,
    "interfaces.*": InterfaceOptions,
    "devices.*": DeviceSettings,
    "uplinks.*": Uplink,
    "uplinks.*.probe": ProbeOptions,
    "groups.*": Group,
    "groups.*.probe": GroupProbeOptions,
    "tunnels.*": Tunnel,
    "tunnels.*.static": StaticKeying,
    "tunnels.*.ike": IkeKeying,
    "tunnels.*.standby": Standby,
    "tunnels.*.offload": OffloadOptions,
}
_EXPECTED: Final[Mapping[str, tuple[str, str | None]]] = {
    "string_type": ("must be a text in quotes", None),
    "int_type": ("must be a whole number", None),
    "bool_type": ("must be true or false", None),
    "float_type": ("must be a number", None),
    "dict_type": ("must be a table", None),
    "model_type": ("must be a table", None),
    "tuple_type": ("must be a list in square brackets", None),
    "float_parsing": ("must be a number", None),
    "int_parsing": ("must be a whole number", None),
}
_BYTE_ORDER_MARK: Final = "\ufeff"
_TWICE: Final = re.compile(r"Cannot declare \((.*)\) twice")
_BARE_VALUE: Final = re.compile(r"\s*([A-Za-z0-9_.-]+)\s*=\s*[A-Za-z0-9:@%][^\"'\[{#]*(?:#.*)?$")


def load_text(text: str, file: str) -> Gateway:
    """The gateway that a TOML text tells of; ``file`` names it in problems.

    Raises ConfigError with every problem: file, line, key, what was expected, and a hint.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([_syntax_problem(str(error), text, file)]) from None
    except RecursionError:
        why = "is nested too deeply to be a gateway file"
        raise ConfigError.single(file, "", why) from None
    try:
        gateway = Gateway.model_validate(document)
    except ValidationError as error:
        raise ConfigError(_validation_problems(error, document, key_lines(text), file)) from None
    if not gateway.tunnels:
        raise ConfigError.single(file, "", "there is no tunnel in this file", _EXAMPLE)
    if findings := list(check_gateway(gateway)):
        lines = key_lines(text)
        problems = (
            Problem(file, _line(lines, path), _dotted(path), why, hint)
            for path, why, hint in findings
        )
        raise ConfigError(list(dict.fromkeys(problems)))
    return separate_pairs(gateway)


def _syntax_problem(message: str, text: str, file: str) -> Problem:
    """``tomllib`` ends its message with ``(at line 3, column 7)`` or ``(at end of document)``."""
    why, _, place = message.rpartition(" (at ")
    if place.startswith("line "):
        line = int(place.removeprefix("line ").split(",")[0])
    else:
        line = max(1, len(text.splitlines()))
    twice = _TWICE.fullmatch(why)
    if twice is not None:
        table = ".".join(re.findall(r"'([^']+)'", twice[1]))
        why = f"the table [{table}] stands twice"
        return Problem(file, line, "", why, "put its keys together, or give one another name")
    hint = _syntax_hint(text, line)
    return Problem(file, line, "", f"this is no TOML: {why or message}", hint)


def _syntax_hint(text: str, line: int) -> str:
    if text.startswith(_BYTE_ORDER_MARK):
        return "the file begins with a byte order mark: save it as UTF-8 without one"
    lines = text.splitlines()
    bare = _BARE_VALUE.match(lines[line - 1]) if line <= len(lines) else None
    if bare is not None:
        # Its value is not told again: it may be a key that somebody put here.
        return f'text and addresses stand in quotes: {bare[1]} = "..."'
    return "see https://toml.io"


def _validation_problems(
    error: ValidationError, document: Any, lines: Mapping[KeyPath, int], file: str
) -> list[Problem]:
    problems: dict[KeyPath, Problem] = {}
    for detail in error.errors(include_url=False):
        path = _existing_path(tuple(detail["loc"]), document, keep_last=detail["type"] == "missing")
        why, hint = _words(detail, path)
        # Unions give one error per member: one for the user is enough.
        problems.setdefault(path, Problem(file, _line(lines, path), _dotted(path), why, hint))
    return sorted(problems.values(), key=lambda problem: problem.line or 0)


def _existing_path(location: KeyPath, document: Any, *, keep_last: bool) -> KeyPath:
    """Without the steps that pydantic adds for members of unions."""
    path: list[str | int] = []
    value = document
    for number, step in enumerate(location):
        is_there = step in value if isinstance(value, dict) else False
        if isinstance(value, list) and isinstance(step, int):
            is_there = step < len(value)
        if is_there:
            value = value[step]
        elif not (keep_last and number == len(location) - 1):
            break
        path.append(step)
    return tuple(path)


def _words(detail: ErrorDetails, path: KeyPath) -> tuple[str, str | None]:
    kind = detail["type"]
    if kind == "plutino":
        return detail["ctx"]["why"], detail["ctx"]["hint"]
    if kind == "missing":
        return "is missing", _description(path)
    if kind == "extra_forbidden":
        return _unknown_key(path)
    if kind == "literal_error":
        return f"must be {detail['ctx']['expected']}, not {detail['input']!r}", None
    if kind in _EXPECTED:
        why, hint = _EXPECTED[kind]
        return f"{why}, not {_shown(detail['input'])}", hint
    message = detail["msg"][:1].lower() + detail["msg"][1:]
    return f"{message}, not {_shown(detail['input'])}", None


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _unknown_key(path: KeyPath) -> tuple[str, str | None]:
    key = str(path[-1])
    table = _table_of(path[:-1])
    known = _keys(_TABLES[table]) if table in _TABLES else []
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    if near:
        return "unknown key", f"did you mean '{near[0]}'?"
    for other, model in _TABLES.items():
        if key in _keys(model):
            return "unknown key", f"'{key}' belongs in [{other.replace('*', 'NAME') or 'the top'}]"
    parts = [one for one in known if key in one.split("-")]
    if parts:
        return "unknown key", f"did you mean '{parts[0]}'?"
    return "unknown key", f"known here: {', '.join(known)}"


def _table_of(path: KeyPath) -> str:
    names = [step for step in path if isinstance(step, str)]
    steps = ["*" if number == 1 else str(step) for number, step in enumerate(names)]
    return ".".join(steps)


def _keys(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _description(path: KeyPath) -> str | None:
    model = _TABLES.get(_table_of(path[:-1]))
    for name, field in (model.model_fields if model is not None else {}).items():
        if path[-1] in (name, field.alias):
            return field.description
    return None


def _line(lines: Mapping[KeyPath, int], path: KeyPath) -> int | None:
    """The line of the path, or of the nearest table around it."""
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return None


def _dotted(path: KeyPath) -> str:
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text
