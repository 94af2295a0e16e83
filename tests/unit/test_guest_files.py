"""What a guest is made of: archives, kernels out of images, modules in order, one preparation."""

import gzip
import shutil
import struct
import subprocess
import threading
from pathlib import Path

import pytest

from plutino.lab.guest.cache import cache_folder, find_prepared, prepare_once
from plutino.lab.guest.errors import GuestError
from plutino.lab.guest.initramfs import encode_cpio
from plutino.lab.guest.kernels import KERNELS, find_kernel
from plutino.lab.guest.modules import loading_order
from plutino.lab.guest.run import guest_environment
from plutino.lab.guest.vmlinux import unpack_vmlinux
from plutino.model.errors import WireError
from tests.support.guest import skip_loudly

KERNEL = KERNELS["uml-6.12"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_cpio_unpacks_what_was_packed(tmp_path: Path) -> None:
    archive = encode_cpio(
        [("d", 0o40755, b""), ("d/one", 0o100644, b"12345"), ("two", 0o100755, b"")]
    )
    if shutil.which("busybox") is None:
        skip_loudly("busybox-static is not installed")
    unpack = ["busybox", "cpio", "-id"]
    subprocess.run(unpack, input=archive, capture_output=True, cwd=tmp_path, check=True)
    assert (tmp_path / "d" / "one").read_bytes() == b"12345"
    assert (tmp_path / "two").stat().st_mode == 0o100755


def bzimage(payload: bytes) -> bytes:
    """By the boot protocol: one sector of set-up code after the first, then the payload."""
    head = bytearray(1024)
    head[0x1F1] = 1
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<II", head, 0x248, 16, len(payload))
    return bytes(head) + bytes(16) + payload


def test_the_kernel_comes_out_of_its_image() -> None:
    assert unpack_vmlinux(bzimage(gzip.compress(b"\x7fELF and more"))) == b"\x7fELF and more"


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (bytes(2048), "no HdrS"),
        (bzimage(b"what is this"), "unknown packing"),
        (bzimage(gzip.compress(b"no kernel")), "no ELF"),
    ],
)
def test_an_image_that_is_none_is_refused(image: bytes, why: str) -> None:
    with pytest.raises(WireError, match=why):
        unpack_vmlinux(image)


def test_modules_come_after_those_they_need(tmp_path: Path) -> None:
    (tmp_path / "modules.dep").write_text(
        "k/a-b.ko: k/c.ko k/d.ko\nk/c.ko: k/d.ko\nk/d.ko:\nk/other.ko: k/d.ko\n"
    )
    order = loading_order(tmp_path, ["c", "a_b", "built_in"])
    assert [path.name for path in order] == ["d.ko", "c.ko", "a-b.ko"]


def test_two_at_once_prepare_a_kernel_once() -> None:
    made: list[Path] = []
    started, waited = threading.Event(), threading.Event()

    def make(folder: Path) -> str:
        made.append(folder)
        started.set()
        assert waited.wait(20)
        (folder / "linux").write_bytes(b"kernel")
        return "6.12.1-1"

    results: list[Path] = []
    first = threading.Thread(
        target=lambda: results.append(prepare_once(KERNEL, make, lambda: None))
    )
    first.start()
    assert started.wait(20)
    assert find_prepared(KERNEL) is None, "half of it is seen"
    results.append(prepare_once(KERNEL, make, waited.set))
    first.join()
    assert len(made) == 1
    assert results[0] == results[1] == find_prepared(KERNEL)
    assert (results[0] / "linux").read_bytes() == b"kernel"


def test_a_preparation_that_fails_leaves_nothing() -> None:
    def fail(folder: Path) -> str:
        (folder / "half").write_bytes(b"")
        raise GuestError("no network")

    with pytest.raises(GuestError, match="no network"):
        prepare_once(KERNEL, fail, lambda: None)
    assert [path.name for path in cache_folder().iterdir()] == [f".lock-{KERNEL.name}"]


def test_an_unknown_kernel_is_refused_with_those_there_are() -> None:
    with pytest.raises(GuestError) as caught:
        find_kernel("uml-2.4")
    assert caught.value.hint is not None
    assert KERNEL.name in caught.value.hint


def test_the_environment_has_the_systems_programs() -> None:
    got = guest_environment(KERNEL, {"PATH": "/own:/usr/bin", "CI": "1", "OTHER": "x"})
    assert got["PATH"].startswith("/own:/usr/bin:")
    assert {"/usr/sbin", "/sbin"} <= set(got["PATH"].split(":"))
    assert (got["HOME"], got["TERM"], got["CI"]) == ("/root", "dumb", "1")
    assert "OTHER" not in got
