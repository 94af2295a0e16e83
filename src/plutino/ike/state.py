"""The states of an IKE SA in one table (RFC 7296, 1.2, 2.8 and 2.25)."""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final


class SessionState(Enum):
    """Where an IKE SA stands."""

    __hash__ = object.__hash__  # that of Enum is Python's, and asked for all the time
    INITIATING = auto()
    """IKE_SA_INIT is sent."""
    AUTHENTICATING = auto()
    """There are keys, and nobody has proved who it is."""
    ESTABLISHED = auto()
    REPLACED = auto()
    """Another IKE SA has its children; it waits to be deleted."""
    DELETING = auto()
    """Our own request to delete it waits for its response."""
    CLOSED = auto()


class SessionInput(Enum):
    """What happens to an IKE SA."""

    __hash__ = object.__hash__
    KEYS = auto()
    AUTHENTICATED = auto()
    REPLACE = auto()
    DELETE = auto()
    CLOSE = auto()


_ANY_BUT_CLOSED: Final = tuple(one for one in SessionState if one is not SessionState.CLOSED)
TRANSITIONS: Final[Mapping[tuple[SessionState, SessionInput], SessionState]] = {
    (SessionState.INITIATING, SessionInput.KEYS): SessionState.AUTHENTICATING,
    (SessionState.AUTHENTICATING, SessionInput.AUTHENTICATED): SessionState.ESTABLISHED,
    (SessionState.ESTABLISHED, SessionInput.REPLACE): SessionState.REPLACED,
    (SessionState.ESTABLISHED, SessionInput.DELETE): SessionState.DELETING,
    (SessionState.REPLACED, SessionInput.DELETE): SessionState.DELETING,
    **{(one, SessionInput.CLOSE): SessionState.CLOSED for one in _ANY_BUT_CLOSED},
}
"""Any other pair is a mistake of ours."""


def following(state: SessionState, event: SessionInput) -> SessionState:
    """The state after an input; ValueError for a pair that must not happen."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise ValueError(f"an IKE SA that is {state.name} is not fit for {event.name}") from None
