"""Any text gives a gateway or a ConfigError; and every key is found where it stands."""

import tomllib
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from plutino.config.load import load_text
from plutino.config.positions import KeyPath, key_lines
from plutino.config.static_keys import encode_keys, generate_pair, parse_keys
from plutino.model.algorithms import ESP_SUITES
from plutino.model.errors import ConfigError

SCALARS = st.sampled_from(
    [
        "1",
        "-2.5",
        "true",
        "1979-05-27 07:32:00",
        '"a # b"',
        "'c ] d'",
        '"""e\n"f"\ng"""',
        '"\\"\\u00e9"',
    ]
)
KEYS = st.sampled_from(["a", "b-c", '"d e"', "'f.g'", "h1"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(
            lambda items: "[\n  " + ", # x\n  ".join([*items, ""]) + "]"
        ),
        st.dictionaries(KEYS, inner, max_size=3).map(
            lambda pairs: (
                "{ " + ", ".join(f"{key} = {value}" for key, value in pairs.items()) + " }"
            )
        ),
    ),
    max_leaves=6,
)


@st.composite
def documents(draw: st.DrawFn) -> str:
    """Valid TOML of tables with all kinds of values."""
    lines: list[str] = []
    for number in range(draw(st.integers(0, 4))):
        form = draw(st.sampled_from(["[t{n}]", "[t{n}.sub]", "[[list]]", "[ 't{n}' . x ]"]))
        lines.append(form.format(n=number))
        for key, value in draw(st.dictionaries(KEYS, VALUES, max_size=3)).items():
            lines += draw(st.sampled_from([[], ["# a comment = 1", ""]]))
            dotted = draw(st.sampled_from(["", "p{k}."])).format(k=len(lines))
            lines.append(f"{dotted}{key} = {value}")
    return "\n".join(lines)


def paths(value: Any, at: KeyPath = ()) -> set[KeyPath]:
    """Every key and every element of a parsed document."""
    found: set[KeyPath] = set()
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        found.add((*at, key))
        if isinstance(inner, dict | list):
            found |= paths(inner, (*at, key))
    return found


@given(documents())
def test_every_key_is_found(text: str) -> None:
    document = tomllib.loads(text)
    lines = key_lines(text)
    assert set(lines) >= paths(document)
    rows = text.splitlines()
    for path, line in lines.items():
        last = path[-1]
        if isinstance(last, str):
            assert last in rows[line - 1]


@given(st.text() | documents())
def test_any_text_is_understood_or_refused(text: str) -> None:
    try:
        load_text(text, "x")
    except ConfigError as error:
        assert error.problems  # noqa: PT017


@given(st.text())
def test_any_text_is_a_key_file_or_refused(text: str) -> None:
    try:
        parse_keys(text, "x")
    except ConfigError as error:
        assert error.problems  # noqa: PT017


@given(st.integers(), st.sampled_from(sorted(ESP_SUITES)))
def test_keys_of_both_ends_match_and_survive_their_file(seed: int, algorithm: str) -> None:
    here, there = generate_pair(Random(seed).randbytes, algorithm)
    assert (here.outbound, here.inbound) == (there.inbound, there.outbound)
    assert here.outbound.spi != here.inbound.spi
    assert parse_keys(encode_keys(here, used_at="a", peer="b"), "x") == here
