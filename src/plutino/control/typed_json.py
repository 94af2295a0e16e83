"""Dataclasses to what JSON has and back: a command that shows a report starts without pydantic."""

import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

_Value = TypeVar("_Value")
_Parse = Callable[[object], Any]


def encode_value(value: Any) -> Any:
    """Dataclasses and mappings become objects, tuples arrays, members of enums their values."""
    if value is None or type(value) in (str, int, bool):
        return value
    if isinstance(value, tuple):
        return [encode_value(one) for one in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {key: encode_value(one) for key, one in value.items()}
    kind: Any = type(value)
    return {name: encode_value(getattr(value, name)) for name in _names(kind)}


def parse_value(kind: type[_Value], document: object) -> _Value:
    """A dataclass from JSON; ValueError for anything else. What it has no field for is left out."""
    wanted: Any = kind
    parsed: _Value = _parser(wanted)(document)
    return parsed


@cache
def _names(kind: type[Any]) -> tuple[str, ...]:
    return tuple(one.name for one in fields(kind))


@cache
def _parser(kind: Any) -> _Parse:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        (inner,) = (one for one in arguments if one is not types.NoneType)
        return _optional(_parser(inner))
    if origin is tuple:
        return _array(_parser(arguments[0]))
    if origin is dict:
        return _mapping(_parser(arguments[1]))
    if is_dataclass(kind):
        return _dataclass(kind)
    return _scalar(kind)


def _scalar(kind: type[Any]) -> _Parse:
    if issubclass(kind, Enum):
        member: _Parse = kind
        return member

    def parse(document: object) -> Any:
        if type(document) is not kind:
            raise ValueError(f"{document!r:.40} is no {kind.__name__}")
        return document

    return parse


def _optional(inner: _Parse) -> _Parse:
    return lambda document: None if document is None else inner(document)


def _array(inner: _Parse) -> _Parse:
    def parse(document: object) -> tuple[Any, ...]:
        if not isinstance(document, list):
            raise ValueError(f"{document!r:.40} is no array")
        return tuple(map(inner, document))

    return parse


def _mapping(inner: _Parse) -> _Parse:
    def parse(document: object) -> dict[str, Any]:
        return {key: inner(one) for key, one in _object(document).items()}

    return parse


def _dataclass(kind: Any) -> _Parse:
    hints = get_type_hints(kind)
    parsers = [(one.name, _parser(hints[one.name])) for one in fields(kind)]
    needed = {one.name for one in fields(kind) if one.default is MISSING}

    def parse(document: object) -> Any:
        given = _object(document)
        if lacking := needed - given.keys():
            raise ValueError(f"{kind.__name__} has no {min(lacking)}")
        return kind(**{name: inner(given[name]) for name, inner in parsers if name in given})

    return parse


def _object(document: object) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise ValueError(f"{document!r:.40} is no object")
    return document
