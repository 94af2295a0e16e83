"""Python's collector of cyclic garbage, told that most of what there is stays.

With thousands of peers each full collection looks through some hundred objects for each of them,
and a start makes enough new ones for a collection every few hundred handshakes.
"""

import gc
from collections.abc import Callable
from typing import Final, TypeVar

_Value = TypeVar("_Value")

_NEW_ONES: Final = 10_000
"""Objects more than before that call for a look at the new ones: fourteen times Python's number."""


def without_collection(work: Callable[[], _Value]) -> _Value:
    """Of what a pass makes nothing is garbage before its end: to look takes a fifth of its time.

    For one thread at a time.
    """
    gc.disable()
    try:
        return work()
    finally:
        gc.enable()


def spare_what_is_there() -> None:
    """What there is now is left out of further collections; once more after it has changed."""
    gc.set_threshold(_NEW_ONES)
    gc.unfreeze()
    gc.collect()
    gc.freeze()
