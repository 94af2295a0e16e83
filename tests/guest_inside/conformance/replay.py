"""Replay windows of every kind at their edges, and the end of sequence numbers."""

from tests.guest_inside.conformance.packets import incoming, outgoing
from tests.guest_inside.conformance.scenario import (
    GETAE,
    Ask,
    Inject,
    Scenario,
    Send,
    get_sa,
    in_policy,
    in_sa,
    out_policy,
    out_sa,
    receives,
    scenario,
)
from tests.support.sa_wire import (
    AF_UNSPEC,
    ESN,
    PLAIN,
    SA_EXTRA_FLAGS,
    aevent_id,
    number,
    replay,
    replay_esn,
    sa_id,
)

_TOP = 0xFFFFFFFF


def _arrives(*sequences: int, esn: bool = False) -> tuple[Inject, ...]:
    return tuple(
        receives(incoming(), sequence=one, **({"high": one >> 32} if esn else {}))
        for one in sequences
    )


_NAME = sa_id(destination="192.0.2.1")
_STATE = (get_sa(_NAME), Ask(GETAE, aevent_id(name=_NAME, source="192.0.2.2")))
_FLAGS = AF_UNSPEC | ESN
_LEGACY = {
    "no window": (0, (1, 1, 5, 3, 3, 0)),
    "window of 32": (32, (1, 1, 5, 3, 3, 40, 8, 9, 9, 0)),
    "window of 1": (1, (1, 1, 3, 2)),
    "window beyond 32": (64, (40, 8, 9)),
    "last number": (32, (_TOP, 1, _TOP - 31, _TOP - 32)),
}
_BITMAP = {
    "window of 64": (2, 64, (1, 1, 70, 6, 7, 7, 0)),
    "window of 33": (2, 33, (100, 67, 68, 68)),
    "window of 4096": (128, 4096, (5000, 904, 905, 905, 4999)),
    "no window": (1, 0, (1, 1, 0)),
    "jump over all": (1, 32, (1, 100000, 2, 99999, 99969, 99968)),
}
_WRAP = 1 << 32
_EXTENDED = {
    "from the start": (32, 0, (1, 1, 40, 8, 9, 0)),
    "across the wrap": (32, _TOP - 5, (_TOP - 3, _TOP - 3, _WRAP + 2, _TOP - 1, _WRAP + 2, _TOP)),
    "after the wrap": (64, _WRAP + 5, (_WRAP + 6, _TOP - 3, _TOP - 80, _WRAP + 6)),
    "half a space ahead": (32, _WRAP + 5, (_WRAP + (1 << 31), 7 + _WRAP)),
    "next half": (32, 5, (_WRAP + 3, 3)),
    "number 0 of a later half": (32, _TOP - 1, (_WRAP, _WRAP + 1, _WRAP)),
}


def _legacy(name: str, window: int, sequences: tuple[int, ...]) -> Scenario:
    return scenario(
        f"legacy: {name}", in_policy(), in_sa(window=window), *_arrives(*sequences), *_STATE
    )


def _bitmap(name: str, words: int, window: int, sequences: tuple[int, ...]) -> Scenario:
    made = in_sa(PLAIN + replay_esn(words, window))
    return scenario(f"bitmap: {name}", in_policy(), made, *_arrives(*sequences), *_STATE)


def _extended(name: str, window: int, start: int, sequences: tuple[int, ...]) -> Scenario:
    words = window // 32
    state = replay_esn(words, window, seq=start)
    made = in_sa(PLAIN + state, flags=_FLAGS)
    return scenario(f"ESN: {name}", in_policy(), made, *_arrives(*sequences, esn=True), *_STATE)


_OUT_STATE = (get_sa(), Ask(GETAE, aevent_id(source="192.0.2.1")))


def _sends(name: str, attributes: bytes, *, flags: int = AF_UNSPEC, count: int = 3) -> Scenario:
    sends = [Send(outgoing(text=bytes([at]))) for at in range(count)]
    return scenario(
        f"out: {name}", out_policy(), out_sa(PLAIN + attributes, flags=flags), *sends, *_OUT_STATE
    )


SCENARIOS: tuple[Scenario, ...] = (
    *(_legacy(name, *rest) for name, rest in _LEGACY.items()),
    *(_bitmap(name, *rest) for name, rest in _BITMAP.items()),
    *(_extended(name, *rest) for name, rest in _EXTENDED.items()),
    _sends("from the start", b""),
    _sends("legacy end", replay(_TOP - 2)),
    _sends("legacy end that may wrap", replay(_TOP - 1) + number(SA_EXTRA_FLAGS, 2)),
    _sends("bitmap end", replay_esn(0, 0, oseq=_TOP - 2)),
    _sends("bitmap end that may wrap", replay_esn(0, 0, oseq=_TOP - 1) + number(SA_EXTRA_FLAGS, 2)),
    _sends("ESN across the wrap", replay_esn(0, 0, oseq=_TOP - 1), flags=_FLAGS),
    _sends("ESN end", replay_esn(0, 0, oseq=2**64 - 3), flags=_FLAGS),
)
