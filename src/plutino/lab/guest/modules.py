"""Modules of a packaged kernel: which are kept, and which must be loaded to reach the root."""

import lzma
import re
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Final

from plutino.lab.guest.errors import GuestError

ROOT_MODULES: Final = ("virtio_pci", "virtio_console", "overlay", "9pnet_virtio", "9p")
"""What stands between a packaged kernel and the host's files; those built in are skipped."""
_KEPT: Final = re.compile(
    r"kernel/(net|crypto|arch|lib|fs/(9p|overlayfs|netfs|fscache)|"
    r"drivers/(net|virtio|char|crypto|ptp))/"
)
_LEFT_OUT: Final = re.compile(r"/(wireless|ethernet|bluetooth|mac80211)/")
_SUFFIX: Final = re.compile(r"\.ko(\.xz)?$")


def unpack_kernel(archive: IO[bytes], folder: Path) -> bytes:
    """Keep a package's modules below ``folder``, unpacked; the kernel's image, if it holds one.

    ``archive`` is the package's tar.
    """
    image = b""
    with tarfile.open(fileobj=archive, mode="r|") as members:
        for member in members:
            name = member.name.removeprefix("./").removeprefix("usr/")
            content = members.extractfile(member) if member.isfile() else None
            if content is None:
                continue
            if re.match(r"(boot|lib/modules/[^/]+)/vmlinuz", name):
                image = content.read()
            elif name.startswith("lib/modules/") and _is_kept(name):
                _write_module(folder / "usr" / name, content.read())
    return image


def index_modules(folder: Path, version: str) -> None:
    """Let depmod list what depends on what. Raises GuestError in its words."""
    link = folder / "lib"
    link.symlink_to("usr/lib")  # where depmod looks; in the guest it would hide the real one
    try:
        done = subprocess.run(
            ["depmod", "-b", folder, version], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise GuestError("no depmod", hint="apt-get install kmod") from None
    finally:
        link.unlink()
    if done.returncode != 0:
        raise GuestError(f"depmod: {done.stderr.strip()}")


def loading_order(modules: Path, names: Sequence[str]) -> list[Path]:
    """Files of the modules and of all they need, those needed first. ``modules`` has modules.dep.

    A name without a file is built into the kernel.
    """
    needs: dict[str, list[str]] = {}
    files: dict[str, str] = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        file, _, others = line.partition(":")
        files[_module_name(file)] = file
        needs[_module_name(file)] = [_module_name(other) for other in others.split()]
    order: dict[str, None] = {}
    for name in names:
        if name in files:
            for needed in (*reversed(needs[name]), name):
                order.setdefault(needed)
    return [modules / files[name] for name in order]


def _is_kept(name: str) -> bool:
    inner = name.split("/", 3)[3]
    if inner.startswith("modules."):
        return True
    return _KEPT.match(inner) is not None and _LEFT_OUT.search(inner) is None


def _write_module(path: Path, content: bytes) -> None:
    if path.suffix == ".xz":  # emulated unpacking would cost more than the room saves
        path, content = path.with_suffix(""), lzma.decompress(content)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _module_name(file: str) -> str:
    return _SUFFIX.sub("", Path(file).name).replace("-", "_")


def folders_of_modules(root: Path) -> Iterator[Path]:
    """The folders of each kernel version below a root; a preparation has one."""
    yield from (root / "usr" / "lib" / "modules").iterdir()
