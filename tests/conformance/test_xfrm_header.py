"""Sizes, offsets and numbers of the codec against the C compiler's view of ``linux/xfrm.h``."""

import re
import subprocess
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path

import pytest

from plutino.netlink.xfrm import structures, structures_policy
from plutino.netlink.xfrm.constants import Group, MessageType, SadAttribute, SpdAttribute, Xfrma
from plutino.netlink.xfrm.layout import Structure, layout

STRUCT = re.compile(r"``struct (xfrmu?_\w+)``")
NEWER_THAN_SOME_HEADERS = {"xfrm_user_migrate_state"}
NUMBERS: tuple[tuple[str, type[IntEnum]], ...] = (
    ("XFRM_MSG", MessageType),
    ("XFRMA", Xfrma),
    ("XFRMNLGRP", Group),
    ("XFRMA_SAD", SadAttribute),
    ("XFRMA_SPD", SpdAttribute),
)
HEADER = (
    "#include <stddef.h>\n#include <stdio.h>\n#include <linux/xfrm.h>\n#include <linux/udp.h>\n"
)


def named_structures() -> Iterator[tuple[str, type[Structure]]]:
    """Every structure of the codec by the name of its C twin, which its docstring tells."""
    for module in (structures, structures_policy):
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, Structure) and value is not Structure:
                match = STRUCT.match(value.__doc__ or "")
                if match is not None and value.__module__ == module.__name__:
                    yield match[1], value


def compiled(lines: list[str], folder: Path) -> dict[str, int]:
    """What a C program prints: ``name value`` per line."""
    source = folder / "header.c"
    source.write_text(f"{HEADER}int main(void) {{\n{chr(10).join(lines)}\nreturn 0; }}\n")
    program = folder / "header"
    subprocess.run(["cc", "-w", "-o", program, source], check=True)
    output = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    return {name: int(value) for name, value in map(str.split, output.splitlines())}


def in_header(name: str, folder: Path) -> bool:
    """Whether this machine's header knows a structure; older ones lack the newest."""
    source = folder / "probe.c"
    source.write_text(f"{HEADER}int size = sizeof(struct {name});\n")
    done = subprocess.run(
        ["cc", "-w", "-c", "-o", "/dev/null", source], check=False, capture_output=True
    )
    return done.returncode == 0


def test_every_structure_is_laid_out_as_the_compiler_does_it(tmp_path: Path) -> None:
    mine: dict[str, int] = {}
    lines: list[str] = []
    for name, kind in named_structures():
        if not in_header(name, tmp_path):
            assert name in NEWER_THAN_SOME_HEADERS, f"struct {name} is in no header"
            continue
        mine[name] = kind.size()
        lines.append(f'printf("{name} %zu\\n", sizeof(struct {name}));')
        for member, (offset, _) in layout(kind).members.items():
            key = f"{name}.{member}"
            mine[key] = offset
            c_member = member.rstrip("_")
            lines.append(f'printf("{key} %zu\\n", offsetof(struct {name}, {c_member}));')
    assert len(lines) > 150
    assert compiled(lines, tmp_path) == mine


@pytest.mark.parametrize(("prefix", "numbers"), NUMBERS, ids=str)
def test_every_number_is_the_headers(prefix: str, numbers: type[IntEnum], tmp_path: Path) -> None:
    header = subprocess.run(
        ["cc", "-E", "-x", "c", "-"], input=HEADER, check=True, capture_output=True, text=True
    ).stdout
    mine = {}
    lines = []
    for member in numbers:
        name = f"{prefix}_{member.name}"
        if re.search(rf"\b{name}\b", header):
            mine[name] = int(member)
            lines.append(f'printf("{name} %d\\n", {name});')
    assert len(mine) >= 2
    assert compiled(lines, tmp_path) == mine


@pytest.mark.parametrize("prefix", ["XFRM_MSG", "XFRMA", "XFRMNLGRP"])
def test_nothing_of_the_header_is_missing(prefix: str) -> None:
    header = subprocess.run(
        ["cc", "-E", "-x", "c", "-"], input=HEADER, check=True, capture_output=True, text=True
    ).stdout
    there = set(re.findall(rf"\b{prefix}_([A-Z0-9_]+)\b", header))
    known = {member.name for _, numbers in NUMBERS for member in numbers}
    known |= {f"SAD_{member.name}" for member in SadAttribute}
    known |= {f"SPD_{member.name}" for member in SpdAttribute}
    bookkeeping = {"BASE", "UNSPEC", "NONE", "SAD_UNSPEC", "SPD_UNSPEC"}
    missing = {name for name in there - known if not name.startswith("__")}
    assert missing - bookkeeping - {"OUTPUT_MARK"} <= {"MAX", "SAD_MAX", "SPD_MAX"}
