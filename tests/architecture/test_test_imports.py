"""What tests share is in tests/support, so that a test file can be changed for its own sake."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
FILES = sorted((CHECKOUT / "tests").rglob("*.py"))


def modules_named_in(path: Path) -> Iterator[str]:
    """All that a file imports, and each name from a package, which may be a module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(CHECKOUT).as_posix())
def test_nothing_is_imported_from_a_test_file(path: Path) -> None:
    words = [name.split(".") for name in modules_named_in(path)]
    test_files = [
        ".".join(one)
        for one in words
        if one[0] == "tests" and any(part.startswith("test_") for part in one[1:])
    ]
    assert not test_files, f"move what it takes from {test_files} to tests/support"
