"""Values of which messages make thousands."""

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

_Kind = TypeVar("_Kind")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def wire_value(kind: type[_Kind]) -> type[_Kind]:
    """A dataclass that mypy holds to be frozen.

    At run time it is not: that would make each new value four times as slow, and a message has
    several.
    """
    return dataclass(slots=True, unsafe_hash=True)(kind)
