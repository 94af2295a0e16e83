"""User-mode Linux: building it from Debian's linux-source, and the command that boots it.

Debian's own user-mode-linux lacks XFRM interfaces. Here all is built in, from ``uml.config`` on top
of nothing (allnoconfig), which compiles 960 files: 7.5 CPU minutes.
"""

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Final

from plutino.lab.guest.errors import GuestError
from plutino.lab.guest.kernels import UML_CONFIG, Kernel
from plutino.lab.guest.packages import PackageSource, Say
from plutino.lab.guest.processes import own_session

PROGRAM: Final = "linux"
_TOOLS: Final = ("make", "gcc", "flex", "bison", "bc", "xz", "strip", "tar")
_LEFT_PACKED: Final = (
    "drivers/gpu", "drivers/media", "drivers/staging", "drivers/infiniband", "drivers/scsi",
    "drivers/net/ethernet", "drivers/net/wireless", "sound",
)  # fmt: skip
"""Folders whose sources are never compiled: only their Kconfig is needed."""
_FILES_ABOUT: Final = 960
_PROGRESS_EVERY: Final = 30.0
_MIB: Final = 1 << 20


def prepare_uml(kernel: Kernel, packages: PackageSource, folder: Path, say: Say) -> str:
    """Download the source and build the kernel into ``folder``; its version. Raises GuestError."""
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        raise GuestError(
            f"missing to build a kernel: {', '.join(missing)}",
            hint="apt-get install make gcc libc6-dev flex bison bc xz-utils binutils",
        )
    name = f"linux-source-{kernel.series}"
    package = packages.find(name.replace(".", r"\."), name, say)
    file = packages.download(package, folder, say)
    source, build = folder / "source", folder / "build"
    source.mkdir()
    build.mkdir()
    say("unpacking the source; then some minutes of compilation, once")
    _unpack_source(file, source, kernel)
    file.unlink()
    make = ["make", "-C", str(source), "ARCH=um", f"O={build}"]
    _run([*make, f"KCONFIG_ALLCONFIG={UML_CONFIG}", "allnoconfig"])
    _check_config(build / ".config", kernel)
    _compile([*make, f"-j{len(os.sched_getaffinity(0))}", "linux"], say)
    _run(["strip", "-o", str(folder / PROGRAM), str(build / "linux")])
    shutil.copy(build / ".config", folder / "config")
    shutil.rmtree(source)
    shutil.rmtree(build)
    return package.version


def uml_command(
    kernel: Kernel,
    prepared: Path,
    initramfs: Path,
    console: int,
    streams: dict[str, int],
    *,
    memory: int,
) -> list[str]:
    """The command that boots. Descriptors: console, and streams by name; ``memory`` is in MiB."""
    return [
        str(prepared / PROGRAM), f"mem={memory}M", f"initrd={initramfs}",
        f"uml_dir={initramfs.parent}", "umid=guest",
        f"con0=null,fd:{console}", "con=null",
        f"ssl0=fd:{streams['out']}", f"ssl1=fd:{streams['err']}", "ssl=null",
        "panic=-1", "noreboot", "quiet", "loglevel=4",
        "random.trust_cpu=on", "rcupdate.rcu_expedited=1",
        "fb_tunnels=none",  # no tunl0, ip_vti0 and so on in each new namespace
        *kernel.arguments,
    ]  # fmt: skip


def memory_folder(folder: Path, memory: int) -> Path:
    """Where the kernel may keep ``memory`` MiB: /dev/shm if it has the room, or ``folder``."""
    shared = Path("/dev/shm")  # noqa: S108 -- where the kernel itself looks first
    try:
        room = shutil.disk_usage(shared).free
    except OSError:
        return folder
    return shared if room > memory * _MIB and os.access(shared, os.W_OK) else folder


def _unpack_source(file: Path, source: Path, kernel: Kernel) -> None:
    left_packed = [f"--exclude=*/{folder}/*.[ch]" for folder in _LEFT_PACKED]
    left_packed += ["--exclude=*/Documentation/*.rst", "--exclude=*.dts", "--exclude=*.dtsi"]
    inner = f"./usr/src/linux-source-{kernel.series}.tar.xz"
    with (
        subprocess.Popen(
            ["dpkg-deb", "--fsys-tarfile", file],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # it tells of the pipe that closed when all was read
        ) as package,
        subprocess.Popen(
            ["tar", "-xO", inner], stdin=package.stdout, stdout=subprocess.PIPE
        ) as packed,
    ):
        unpack = ["tar", "-xJ", "-C", str(source), "--strip-components=1", *left_packed]
        done = subprocess.run(unpack, stdin=packed.stdout, check=False)
    codes = {done.returncode, packed.returncode, package.returncode}
    if codes != {0}:
        raise GuestError(f"cannot unpack {file.name}", hint="is the disk full?")


def _check_config(config: Path, kernel: Kernel) -> None:
    """What was asked for is in, or the kernel would lack it in silence."""
    got = set(config.read_text().splitlines())
    lines = set(UML_CONFIG.read_text().splitlines()) - kernel.gone
    wanted = sorted(line for line in lines if line.startswith("CONFIG_"))
    refused = [line for line in wanted if line not in got and not line.endswith("=n")]
    if refused:
        raise GuestError(f"this source does not take {', '.join(refused)}")


def _compile(command: list[str], say: Say) -> None:
    start = told = time.monotonic()
    files, last = 0, [""]
    with own_session(command, output=subprocess.PIPE) as make:
        for octets in make.stdout or ():
            line = octets.decode(errors="replace")
            files += line.lstrip().startswith("CC ")
            last = [*last[-15:], line]
            now = time.monotonic()
            if now - told > _PROGRESS_EVERY:
                told = now
                say(f"compiled {files} of about {_FILES_ABOUT} files in {now - start:.0f} s")
        make.wait()
    if make.returncode != 0:
        raise GuestError("the kernel does not build:\n" + "".join(last))
    say(f"built in {time.monotonic() - start:.0f} s")


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise GuestError(f"{command[0]}: {done.stderr.strip()[-1000:]}")
