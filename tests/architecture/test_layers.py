"""Who may import whom, and which packages do no I/O (docs/architecture.md)."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "plutino"

MAY_IMPORT: dict[str, set[str]] = {
    "model": set(),
    "netlink": {"model"},
    "config": {"model"},
    "desired": {"model", "config"},
    "ike": {"model", "_native"},
    "migration": {"model", "config", "desired"},
    "export": {"model", "config"},
    "plan": {"model", "desired"},
    "dataplane": {"model", "netlink"},
    "netfilter": {"model", "netlink"},
    "apply": {"model", "desired", "plan", "dataplane", "netlink", "netfilter"},
    "control": {"model"},
    "ike_process": {"model", "ike"},
    "daemon": {
        "model", "ike", "ike_process", "netlink", "netfilter", "config", "desired", "plan",
        "dataplane", "apply", "control",
    },
    "lab": {"model", "netlink", "config", "dataplane", "control"},
    "cli": {
        "model", "config", "desired", "plan", "apply", "dataplane", "netlink", "control",
        "daemon", "lab",
        "migration", "export",
    },
}  # fmt: skip

PURE = (
    "model", "desired", "migration", "export", "plan",
    "netlink/wire.py", "netlink/xfrm/", "netlink/route/",
    "config/", "ike/",
)  # fmt: skip
IMPURE_FILES = {f"config/{name}.py" for name in ("files", "reading", "signature_files")}
IO_MODULES = {
    "socket", "os", "subprocess", "asyncio", "time", "random", "secrets", "threading", "select",
    "selectors", "shutil", "tempfile", "fcntl", "signal", "pathlib", "ctypes",
}  # fmt: skip
PURE_EXCEPTIONS = {("model/errors.py", "os"), ("netlink/xfrm/convert.py", "socket")}
"""``os.strerror`` is a table of words and ``socket.AF_INET6`` a number: neither does I/O."""


def python_files() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            yield node.module or ""


def relative(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


@pytest.mark.parametrize("path", python_files(), ids=relative)
def test_imports_follow_the_order_of_the_house(path: Path) -> None:
    package = relative(path).split("/")[0]
    if package == "__init__.py":
        return
    allowed = MAY_IMPORT[package] | {package}
    ours = {name.split(".")[1] for name in imports_of(path) if name.startswith("plutino.")}
    assert ours <= allowed, f"{package} must not import {sorted(ours - allowed)}"


@pytest.mark.parametrize("path", python_files(), ids=relative)
def test_pure_packages_do_no_io(path: Path) -> None:
    name = relative(path)
    if name in IMPURE_FILES or not name.startswith(PURE):
        return
    used = {module.split(".")[0] for module in imports_of(path)} & IO_MODULES
    used -= {module for file, module in PURE_EXCEPTIONS if file == name}
    assert not used, f"{name} is pure and must not import {sorted(used)}"


def test_every_package_has_a_place_in_the_order() -> None:
    packages = {path.name for path in SOURCE.iterdir() if (path / "__init__.py").exists()}
    assert packages == set(MAY_IMPORT)


@pytest.mark.parametrize("path", python_files(), ids=relative)
def test_files_have_one_subject(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 450
    assert path.stem not in {"utils", "util", "helpers", "helper", "common", "misc", "manager"}
    assert ast.get_docstring(ast.parse(path.read_text())), f"{path} does not say what it is for"


def test_secrets_are_revealed_in_few_places() -> None:
    """Key material leaves its Secret where it is written to the data plane or to a key file."""
    places = {relative(path) for path in python_files() if ".reveal()" in path.read_text()}
    allowed = (
        *("netlink/xfrm/", "config/static_keys.py", "ike/auth/", "ike/exchanges/auth.py"),
        *("ike/saved.py", "daemon/ike_peers.py"),  # encrypted, and in a hash
        "ike_process/",  # between the daemon and the process
    )
    assert all(place.startswith(allowed) for place in places), places


def test_test_files_have_names_of_their_own() -> None:
    """pytest tells those of one run apart by that alone; guests run theirs by themselves."""
    files = [*Path(__file__).parents[1].rglob("test_*.py")]
    names = Counter(one.name for one in files if "guest_inside" not in one.parts)
    assert [name for name, count in names.items() if count > 1] == []
