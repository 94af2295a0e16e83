"""The words of proposals, checked and filled in: the configuration's to IANA's numbers. Pure."""

import difflib
from collections.abc import Iterable
from typing import Final

from plutino.model.algorithms import COMBINED_MODES
from plutino.model.proposal import Algorithm, Proposal
from plutino.model.proposal_words import (
    ADDKE1,
    ENCR,
    ESN,
    INTEG,
    KE,
    KEY_EXCHANGES,
    PRF,
    WEAK,
    WORDS,
)

WEAK_WORDS: Final = tuple(WEAK)

DEFAULT_IKE: Final = (
    "aes256gcm16-aes128gcm16-chacha20poly1305-prfsha384-prfsha256-x25519-ecp256-ecp384-modp3072-modp2048",
    "aes256-aes128-sha384-sha256-prfsha384-prfsha256-x25519-ecp256-ecp384-modp3072-modp2048",
)
DEFAULT_ESP: Final = (
    "aes256gcm16-aes128gcm16-chacha20poly1305-esn-noesn",
    "aes256-aes128-sha256-sha384-esn-noesn",
)
"""What RFC 8247 and RFC 8221 ask for, the strongest first."""


def parse_proposal(text: str, *, for_ike: bool, weak: tuple[str, ...] = ()) -> Proposal:
    """A proposal such as ``aes256gcm16-prfsha384-x25519``; ``ke1_mlkem768`` adds a key exchange.

    ValueError names the word that is unknown, weak or of no use, and what is missing.
    """
    found: dict[Algorithm, None] = {}
    for word in text.split("-"):
        found[_algorithm(word, weak)] = None
    proposal = sorted(found, key=lambda one: one.type)
    types = {one.type for one in proposal}
    combined = {one.number in COMBINED_MODES for one in proposal if one.type == ENCR}
    if not combined:
        raise ValueError("an encryption algorithm is missing, such as aes256gcm16")
    if len(combined) > 1:
        raise ValueError("algorithms with and without integrity of their own need two proposals")
    if combined == {False} and INTEG not in types:
        raise ValueError("an integrity algorithm is missing, such as sha256")
    if combined == {True} and INTEG in types:
        raise ValueError("the encryption has integrity of its own: no other may stand there")
    return tuple(_for_ike(proposal, types) if for_ike else _for_esp(proposal, types))


def _for_ike(proposal: list[Algorithm], types: set[int]) -> list[Algorithm]:
    if ESN in types:
        raise ValueError("esn and noesn are of ESP alone")
    if KE not in types:
        raise ValueError("a key exchange is missing, such as x25519")
    if PRF not in types:
        numbers = {12: 5, 13: 6, 14: 7, 5: 4, 8: 8, 2: 2}
        prfs = [Algorithm(PRF, numbers[one.number]) for one in proposal if one.type == INTEG]
        proposal = sorted([*proposal, *(prfs or [Algorithm(PRF, 5)])], key=lambda one: one.type)
    return proposal


def _for_esp(proposal: list[Algorithm], types: set[int]) -> list[Algorithm]:
    if PRF in types:
        raise ValueError("a PRF is of IKE alone")
    if any(one == Algorithm(ENCR, 3) for one in proposal):
        raise ValueError("3des is not there for ESP")
    if KE not in types and any(one >= ADDKE1 for one in types):
        raise ValueError("ke1 to ke7 come after a first key exchange, such as x25519")
    return proposal if ESN in types else [*proposal, Algorithm(ESN, 1), Algorithm(ESN, 0)]


def weak_among(algorithms: Iterable[Algorithm]) -> tuple[str, ...]:
    """The words of those that have to be allowed by name."""
    return tuple(word for word, one in WEAK.items() if one in set(algorithms))


def _algorithm(word: str, weak: tuple[str, ...]) -> Algorithm:
    number, separator, name = word.partition("_")
    if separator and number.startswith("ke") and number[2:] in set("1234567"):
        if name not in KEY_EXCHANGES:
            raise ValueError(f"'{name}' is no key exchange{_near(name, list(KEY_EXCHANGES))}")
        return Algorithm(ADDKE1 + int(number[2:]) - 1, KEY_EXCHANGES[name])
    if word not in WORDS:
        raise ValueError(f"'{word}' is no algorithm{_near(word, list(WORDS))}")
    if word in WEAK and word not in weak:
        raise ValueError(f"{word} is weak (RFC 8247): name it in `allow-weak` if it must be")
    return WORDS[word]


def _near(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=2)
    return f"; did you mean {' or '.join(near)}?" if near else ""
