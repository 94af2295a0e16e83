"""Static keys: what `plutino keygen` writes and a gateway file points to.

One file holds both directions as its host uses them; the peer's file holds the same, the other way
round. Keys are written as hexadecimal digits: the encryption key, its salt (RFC 4106, 8.1), the
integrity key (RFC 7296, 2.17), as far as the algorithm has them.
"""

import difflib
import tomllib
from collections.abc import Callable
from dataclasses import dataclass

from plutino.model.algorithms import DEFAULT_ALGORITHM, ESP_SUITES, EspSuite
from plutino.model.errors import ConfigError, Problem
from plutino.model.numbers import SPI_RESERVED, Spi
from plutino.model.secret import Secret

_TABLES = ("in", "out")
_SPI_SIZE = 4
_LOWEST_SPI = 0x1000
"""Above the reserved ones, with room for SPIs that people choose by hand."""


@dataclass(frozen=True, slots=True)
class StaticKey:
    """SPI and keying material of one direction."""

    spi: Spi
    keymat: Secret


@dataclass(frozen=True, slots=True)
class StaticKeys:
    """The keys of one end of a tunnel."""

    suite: EspSuite
    outbound: StaticKey
    inbound: StaticKey


def generate_pair(
    random: Callable[[int], bytes], algorithm: str = DEFAULT_ALGORITHM
) -> tuple[StaticKeys, StaticKeys]:
    """Keys for both ends; ``random`` gives that many bytes. KeyError for an unknown algorithm."""
    chosen = ESP_SUITES[algorithm]
    first = _generate_spi(random)
    second = _generate_spi(random)
    while second == first:
        second = _generate_spi(random)
    one = StaticKey(first, Secret(random(chosen.keymat_size)))
    other = StaticKey(second, Secret(random(chosen.keymat_size)))
    return StaticKeys(chosen, one, other), StaticKeys(chosen, other, one)


def _generate_spi(random: Callable[[int], bytes]) -> Spi:
    while (number := int.from_bytes(random(_SPI_SIZE), "big")) < _LOWEST_SPI:
        pass
    return Spi(number)


def encode_keys(keys: StaticKeys, *, used_at: str, peer: str) -> str:
    """The text of a key file."""
    lines = [
        f"# Static keys of plutino for use at {used_at}, towards {peer}. Keep them secret: who has",
        "# them reads and forges all traffic of the tunnel, past traffic too.",
        f'algorithm = "{keys.suite.name}"',
    ]
    for table, key in (("in", keys.inbound), ("out", keys.outbound)):
        lines += ["", f"[{table}]", f'spi = "{key.spi}"', f'key = "{key.keymat.reveal().hex()}"']
    return "\n".join(lines) + "\n"


def parse_keys(text: str, file: str) -> StaticKeys:
    """From the text of a key file. Raises ConfigError; no word of it shows key material."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError.single(file, "", f"this is no key file: {error}", _HINT) from None
    problems: list[Problem] = []
    name = document.get("algorithm")
    suite = ESP_SUITES.get(name) if isinstance(name, str) else None
    if suite is None:
        near = difflib.get_close_matches(str(name), ESP_SUITES, n=3, cutoff=0.5)
        known = ", ".join(near or (DEFAULT_ALGORITHM, "chacha20poly1305", "aes256-sha512"))
        why = f"must name an algorithm, such as {known}"
        problems.append(Problem(file, None, "algorithm", why, _HINT))
    for unknown in sorted(set(document) - {"algorithm", *_TABLES}):
        problems.append(Problem(file, None, unknown, "unknown key in a key file"))
    parsed = {table: _parse_table(document, table, file, suite, problems) for table in _TABLES}
    inbound, outbound = parsed["in"], parsed["out"]
    if inbound is not None and outbound is not None and inbound.keymat == outbound.keymat:
        why = "the same as in.key: both directions would repeat each other's nonces"
        problems.append(Problem(file, None, "out.key", why, _HINT))
    if problems or suite is None or inbound is None or outbound is None:
        raise ConfigError(problems)
    return StaticKeys(suite, outbound, inbound)


_HINT = "make both ends' files with `plutino keygen`"


def _parse_table(
    document: dict[str, object],
    table: str,
    file: str,
    suite: EspSuite | None,
    problems: list[Problem],
) -> StaticKey | None:
    values = document.get(table)
    if not isinstance(values, dict):
        problems.append(Problem(file, None, table, f"the table [{table}] is missing", _HINT))
        return None
    for unknown in sorted(set(values) - {"spi", "key"}):
        problems.append(Problem(file, None, f"{table}.{unknown}", "unknown key in a key file"))
    spi = _parse_spi(values.get("spi"))
    if spi is None:
        why = f'must be a text such as "0x00001000", above {SPI_RESERVED}'
        problems.append(Problem(file, None, f"{table}.spi", why))
    keymat = _parse_hexadecimal(values.get("key"))
    if keymat is None:
        why = "must be a text of hexadecimal digits"
        problems.append(Problem(file, None, f"{table}.key", why, _HINT))
    elif suite is not None and len(keymat) != suite.keymat_size:
        why = (
            f"has {len(keymat)} bytes, but {suite.name} needs {suite.keymat_size} "
            f"({suite.describe_keymat()})"
        )
        problems.append(Problem(file, None, f"{table}.key", why, _HINT))
        keymat = None
    return None if spi is None or keymat is None else StaticKey(spi, keymat)


def _parse_spi(value: object) -> Spi | None:
    try:
        spi = Spi(int(value, 16)) if isinstance(value, str) else None
    except ValueError:
        return None
    return spi if spi is not None and spi > SPI_RESERVED else None


def _parse_hexadecimal(value: object) -> Secret | None:
    try:
        return Secret(bytes.fromhex(value)) if isinstance(value, str) and value else None
    except ValueError:
        return None
