"""Who else sets packet marks: every rule of nftables and iptables but ours.

What is parsed here is what the tools print; nothing is changed. A rule whose value cannot be
foreseen, such as one that copies the connection's mark, sets no bits of its own.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from functools import reduce
from operator import and_, or_
from pathlib import Path
from typing import Any, Final

from plutino.model.mark_use import MarkSetter
from plutino.model.numbers import U32_MAX

_SAVERS: Final = (
    "iptables-save",
    "ip6tables-save",
    "iptables-legacy-save",
    "ip6tables-legacy-save",
)
_TARGET: Final = re.compile(r"-j (MARK|CONNMARK) --(set-x?mark|or-mark) (0x[0-9a-fA-F]+|\d+)")
_LEGACY_TABLES: Final = ("/proc/net/ip_tables_names", "/proc/net/ip6_tables_names")


def foreign_mark_setters(own_table: str) -> tuple[MarkSetter, ...]:
    """All of them in the current network namespace, by `nft` and, where it is used, iptables."""
    found: list[MarkSetter] = []
    listing = _run(["nft", "-j", "list", "ruleset"])
    if listing is not None:
        try:
            document = json.loads(listing)
        except ValueError:
            document = {}
        found += nft_mark_setters(document, own_table)
    if '"xt"' in (listing or "") or any(map(_is_in_use, _LEGACY_TABLES)):
        for saver in _SAVERS:
            if shutil.which(saver) is not None and (text := _run([saver])) is not None:
                found += iptables_mark_setters(text, saver.removesuffix("-save"))
    return tuple(dict.fromkeys(found))


def nft_mark_setters(document: Mapping[str, Any], own_table: str) -> Iterator[MarkSetter]:
    """From the JSON of ``nft -j list ruleset``."""
    for one in document.get("nftables", ()):
        rule = one.get("rule")
        if rule is None or rule.get("table") == own_table:
            continue
        where = f"nftables {rule['family']} {rule['table']} {rule['chain']} handle {rule['handle']}"
        for part in rule.get("expr", ()):
            mangle = part.get("mangle") if isinstance(part, dict) else None
            if mangle is None:
                continue
            for kind in ("meta", "ct"):
                if mangle.get("key", {}).get(kind, {}).get("key") == "mark":
                    bits = _bits(mangle.get("value"))
                    if bits:
                        yield MarkSetter(where, bits, of_connection=kind == "ct")


def _bits(value: Any) -> int:
    """Bits that an expression may set by itself."""
    if isinstance(value, int):
        return value & U32_MAX
    if not isinstance(value, dict) or len(value) != 1:
        return 0
    ((kind, operands),) = value.items()
    match kind:
        case "|" | "^":
            bits = _bits(operands[0]) | _bits(operands[1])
        case "&":
            bits = _masked(operands)
        case "map":
            data = operands.get("data", {})
            members = data.get("set", ()) if isinstance(data, dict) else ()
            bits = reduce(or_, (_bits(one[1]) for one in members if isinstance(one, list)), 0)
        case "numgen" | "jhash" | "symhash":
            highest = int(operands.get("mod", 1)) - 1 + int(operands.get("offset", 0))
            bits = int((1 << highest.bit_length()) - 1)
        case _:
            bits = 0
    return bits


def _masked(operands: list[Any]) -> int:
    constants = [one for one in operands if isinstance(one, int)]
    others = [_bits(one) for one in operands if not isinstance(one, int)]
    return reduce(and_, constants, U32_MAX) & reduce(and_, others, U32_MAX)


def iptables_mark_setters(text: str, tool: str) -> Iterator[MarkSetter]:
    """From the text of ``iptables-save``."""
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:]
        found = _TARGET.search(line)
        if found is not None and line.startswith("-A "):
            target, _how, value = found.groups()
            bits = int(value, 0) & U32_MAX
            if bits:
                where = f"{tool} -t {table} {line}"
                yield MarkSetter(where, bits, of_connection=target == "CONNMARK")


def _is_in_use(names: str) -> bool:
    try:
        return bool(Path(names).read_text().strip())
    except OSError:
        return False


def _run(command: list[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None
