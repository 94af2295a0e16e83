"""The words of algorithms in proposals, which are strongSwan's, for IANA's numbers. Pure."""

from collections.abc import Iterable
from typing import Final

from plutino.model.algorithms import ESP_SUITES, INTEGRITY_ALGORITHMS
from plutino.model.proposal import Algorithm

ENCR, PRF, INTEG, KE, ESN, ADDKE1 = 1, 2, 3, 4, 5, 6
_FIXED_KEYS: Final = frozenset({3, 11, 28})
"""Transforms without a Key Length attribute."""

KEY_EXCHANGES: Final = {
    "modp1024": 2, "modp1536": 5, "modp2048": 14, "modp3072": 15, "modp4096": 16,
    "modp6144": 17, "modp8192": 18, "ecp256": 19, "ecp384": 20, "ecp521": 21,
    "ecp256bp": 28, "ecp384bp": 29, "ecp512bp": 30,
    "x25519": 31, "x448": 32, "mlkem512": 35, "mlkem768": 36, "mlkem1024": 37,
}  # fmt: skip
_PRFS: Final = {
    "prfsha1": 2, "prfaesxcbc": 4, "prfsha256": 5, "prfsha384": 6, "prfsha512": 7, "prfaescmac": 8,
}  # fmt: skip
WEAK: Final = {
    "modp1024": Algorithm(KE, 2),
    "modp1536": Algorithm(KE, 5),
    "sha1": Algorithm(INTEG, 2),
    "prfsha1": Algorithm(PRF, 2),
    "3des": Algorithm(ENCR, 3),
}
"""RFC 8247 says SHOULD NOT or MUST NOT; each has to be allowed by name."""


def _words() -> dict[str, Algorithm]:
    words: dict[str, Algorithm] = dict(WEAK)
    for suite in ESP_SUITES.values():
        own = suite.encryption
        bits = None if own.ike_id in _FIXED_KEYS else 8 * own.key_size
        words[own.name] = Algorithm(ENCR, own.ike_id, bits)
    for integrity in INTEGRITY_ALGORITHMS.values():
        words[integrity.name] = Algorithm(INTEG, integrity.ike_id)
    words |= {name: Algorithm(PRF, number) for name, number in _PRFS.items()}
    words |= {name: Algorithm(KE, number) for name, number in KEY_EXCHANGES.items()}
    return words | {"esn": Algorithm(ESN, 1), "noesn": Algorithm(ESN, 0)}


WORDS: Final = _words()
_WORD_OF: Final = {algorithm: word for word, algorithm in reversed(WORDS.items())}


def describe(algorithms: Iterable[Algorithm]) -> str:
    """In the words of a proposal; a number where there is no word."""
    return "-".join(map(_word, algorithms))


def _word(algorithm: Algorithm) -> str:
    kind, number, _bits = algorithm
    if kind >= ADDKE1:
        return f"ke{kind - ADDKE1 + 1}_{_word(Algorithm(KE, number))}"
    return _WORD_OF.get(algorithm) or f"{kind}:{number}"
