"""Who else sets packet marks, or drops by them: every rule of nftables and iptables but ours.

What is parsed here is what the tools print; nothing is changed. Of a rule whose value cannot be
foreseen, such as one that copies the connection's mark, only the bits that it takes away are known.
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

from plutino.model.mark_use import MarkDropper, MarkSetter, MarkUses
from plutino.model.netfilter import TABLE_PREFIX
from plutino.model.numbers import U32_MAX, Mark

_SAVERS: Final = (
    "iptables-save",
    "ip6tables-save",
    "iptables-legacy-save",
    "ip6tables-legacy-save",
)
_NUMBER: Final = r"(0x[0-9a-fA-F]+|\d+)"
_TARGET: Final = re.compile(
    r"-j (MARK|CONNMARK|TPROXY) (?:.* )?--(set-x?mark|or-mark|tproxy-mark) "
    rf"{_NUMBER}(?:/{_NUMBER})?"
)
_RESTORE: Final = re.compile(rf"-j CONNMARK --restore-mark(?: --nfmask {_NUMBER})?")
_DROPPED: Final = re.compile(rf"-m mark --mark {_NUMBER}(?:/{_NUMBER})? .*-j (?:DROP|REJECT)")
_EVERY_PACKET: Final = "-A OUTPUT -j"
_LEAVING: Final = ("output", "postrouting")
_LEGACY_TABLES: Final = ("/proc/net/ip_tables_names", "/proc/net/ip6_tables_names")


def foreign_nftables(own_table: str) -> tuple[MarkUses, bool]:
    """Of the current network namespace; and whether iptables has made some of it."""
    listing = _run(["nft", "-j", "list", "ruleset"]) or ""
    try:
        document = json.loads(listing)
    except ValueError:
        document = {}
    return nft_mark_uses(document, own_table), '"xt"' in listing


def has_legacy_iptables() -> bool:
    """Whether iptables has tables of its own in the kernel, beside nftables."""
    return any(map(_is_in_use, _LEGACY_TABLES))


def foreign_iptables() -> MarkUses:
    """By whatever iptables there is, of either kind."""
    found = MarkUses()
    for saver in _SAVERS:
        if shutil.which(saver) is not None and (text := _run([saver])) is not None:
            found = _both(found, iptables_mark_uses(text, saver.removesuffix("-save")))
    return found


def _both(one: MarkUses, other: MarkUses) -> MarkUses:
    return MarkUses(
        setters=tuple(dict.fromkeys((*one.setters, *other.setters))),
        droppers=tuple(dict.fromkeys((*one.droppers, *other.droppers))),
    )


def nft_mark_uses(document: Mapping[str, Any], own_table: str) -> MarkUses:
    """From the JSON of ``nft -j list ruleset``."""
    objects = document.get("nftables", ())
    chains = {
        (one["chain"]["family"], one["chain"]["table"], one["chain"]["name"]): one["chain"]
        for one in objects
        if "chain" in one
    }
    setters: list[MarkSetter] = []
    droppers: list[MarkDropper] = []
    for one in objects:
        rule = one.get("rule")
        if rule is None or rule.get("table") == own_table:
            continue
        chain = chains.get((rule["family"], rule["table"], rule["chain"]), {})
        setters += _nft_setters(rule, every=chain.get("hook") == "output")
        if chain.get("hook") in (None, *_LEAVING):
            droppers += _nft_droppers(rule)
    return MarkUses(setters=tuple(setters), droppers=tuple(droppers))


def _where(rule: Mapping[str, Any]) -> str:
    return f"nftables {rule['family']} {rule['table']} {rule['chain']} handle {rule['handle']}"


def _nft_setters(rule: Mapping[str, Any], *, every: bool) -> Iterator[MarkSetter]:
    """``every``: the chain sees all packets of this host."""
    for part in rule.get("expr", ()):
        if not isinstance(part, dict):
            continue
        mangle = part.get("mangle")
        if mangle is None:
            every &= part.keys() <= {"counter", "log"}
            continue
        for kind in ("meta", "ct"):
            if mangle.get("key", {}).get(kind, {}).get("key") == "mark":
                value = mangle.get("value")
                bits = _bits(value)
                clears = ~_kept(value) & U32_MAX if every and kind == "meta" else 0
                if bits or clears:
                    yield MarkSetter(
                        _where(rule),
                        bits,
                        of_connection=kind == "ct",
                        clears=clears,
                        kindred=rule["table"].startswith(TABLE_PREFIX),
                    )


def _nft_droppers(rule: Mapping[str, Any]) -> Iterator[MarkDropper]:
    parts = [one for one in rule.get("expr", ()) if isinstance(one, dict)]
    drops = any(part.keys() & {"drop", "reject"} for part in parts)
    for part in parts:
        match = part.get("match", {})
        mask = _mask_of_mark(match.get("left"))
        if drops and mask is not None and match.get("op") in ("==", "in"):
            for value in _constants(match.get("right")):
                yield MarkDropper(_where(rule), Mark(value, mask))
        vmap = part.get("vmap", {})
        mask = _mask_of_mark(vmap.get("key"))
        data = vmap.get("data")
        if mask is not None and isinstance(data, dict):
            for one in data.get("set", ()):
                if isinstance(one, list) and isinstance(one[0], int) and "drop" in one[1]:
                    yield MarkDropper(_where(rule), Mark(one[0], mask))


def _mask_of_mark(value: Any) -> int | None:
    """The bits of the packet's mark that an expression looks at; None if it is another one."""
    if not isinstance(value, dict):
        return None
    if value.get("meta", {}).get("key") == "mark":
        return U32_MAX
    masked = value.get("&")
    if isinstance(masked, list) and len(masked) == 2 and isinstance(masked[1], int):
        return None if _mask_of_mark(masked[0]) is None else masked[1]
    return None


def _constants(value: Any) -> list[int]:
    if isinstance(value, dict):
        value = value.get("set", ())
    several = value if isinstance(value, list) else [value]
    return [one for one in several if isinstance(one, int)]


def _kept(value: Any) -> int:
    """Bits of the packet's mark that come through an expression."""
    if not isinstance(value, dict) or len(value) != 1:
        return 0
    ((kind, operands),) = value.items()
    if kind == "meta":
        return U32_MAX if operands.get("key") == "mark" else 0
    if kind in ("|", "^"):
        return reduce(or_, map(_kept, operands), 0)
    if kind == "&":
        constants = [one for one in operands if isinstance(one, int)]
        others = [_kept(one) for one in operands if not isinstance(one, int)]
        return reduce(and_, (*constants, *others), U32_MAX)
    return 0


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


def iptables_mark_uses(text: str, tool: str) -> MarkUses:
    """From the text of ``iptables-save``."""
    table = ""
    setters: list[MarkSetter] = []
    droppers: list[MarkDropper] = []
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:]
        if not line.startswith("-A "):
            continue
        where = f"{tool} -t {table} {line}"
        every = line.startswith(_EVERY_PACKET)
        if (found := _TARGET.search(line)) is not None:
            target, how, value, mask = found.groups()
            clears = int(mask or "0xffffffff", 0) if every and target == "MARK" else 0
            bits = int(value, 0) & U32_MAX
            if bits or clears:
                is_ct = target == "CONNMARK"
                clears = 0 if how == "or-mark" else clears
                setters.append(MarkSetter(where, bits, of_connection=is_ct, clears=clears))
        elif every and (found := _RESTORE.search(line)) is not None:
            setters.append(MarkSetter(where, 0, clears=int(found[1] or "0xffffffff", 0)))
        elif (found := _DROPPED.search(line)) is not None and "! --mark" not in line:
            mark = Mark(int(found[1], 0), int(found[2] or "0xffffffff", 0))
            droppers.append(MarkDropper(where, mark))
    return MarkUses(setters=tuple(setters), droppers=tuple(droppers))


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
