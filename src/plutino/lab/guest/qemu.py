"""QEMU with a packaged kernel: preparing it, and the command that boots it.

Measured: an unpacked kernel by PVH, one emulated CPU and no default devices start in 2.5 s. KVM is
not used: nested, it hangs. ``la57=off`` saves a level of page tables, which emulation pays for.
"""

import re
import subprocess
from pathlib import Path
from typing import Final

from plutino.lab.guest.errors import GuestError
from plutino.lab.guest.kernels import Kernel
from plutino.lab.guest.modules import (
    ROOT_MODULES,
    folders_of_modules,
    index_modules,
    loading_order,
    unpack_kernel,
)
from plutino.lab.guest.packages import Package, PackageSource, Say
from plutino.lab.guest.vmlinux import unpack_vmlinux

PROGRAM: Final = "qemu-system-x86_64"
_WHOLE: Final = 10_000_000
"""A package of more bytes holds a kernel; a smaller one only depends on those that do."""
_KERNEL_ARGUMENTS: Final = (
    "console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off nokaslr random.trust_cpu=on "
    "cryptomgr.notests rcupdate.rcu_expedited=1 no_timer_check tsc=reliable nowatchdog audit=0 "
    "apparmor=0 selinux=0 raid=noautodetect i8042.nopnp 8250.nr_uarts=1 "
    "transparent_hugepage=never init_on_alloc=0 fb_tunnels=none"
)


def prepare_qemu(kernel: Kernel, packages: PackageSource, folder: Path, say: Say) -> str:
    """Download a packaged kernel and unpack it into ``folder``; its version. Raises GuestError."""
    series = re.escape(kernel.series)
    pattern = rf"linux-image-{series}\.\d+(-\d+)?(\+deb\d+)?-amd64"
    package = packages.find(pattern, f"linux-image-{kernel.series}.", say)
    (folder / "root").mkdir()
    image = b""
    for part in _parts(package, packages, say):
        file = packages.download(part, folder, say)
        say("unpacking the kernel and its modules")
        image = _unpack(file, folder / "root") or image
        file.unlink()
    if not image:
        raise GuestError(f"{package.name} holds no kernel")
    (folder / "vmlinux").write_bytes(unpack_vmlinux(image))
    for modules in folders_of_modules(folder / "root"):
        index_modules(folder / "root", modules.name)
    return package.version


def _parts(package: Package, packages: PackageSource, say: Say) -> list[Package]:
    """The packages that hold the kernel and its modules: one up to 6.12, several in newer ones."""
    if package.size > _WHOLE:
        return [package]
    version = package.name.removeprefix("linux-image-")
    names = [f"linux-{part}-{version}" for part in ("binary", "modules", "base")]
    return [packages.find(re.escape(name), name, say) for name in names]


def _unpack(file: Path, root: Path) -> bytes:
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", file], stdout=subprocess.PIPE) as archive:
        if archive.stdout is None:
            raise GuestError("dpkg-deb gives no output")
        image = unpack_kernel(archive.stdout, root)
        archive.stdout.read()  # the padding after the last member
    if archive.returncode != 0:
        raise GuestError(f"dpkg-deb cannot read {file.name}", hint="was it cut short? Try again")
    return image


def root_modules(prepared: Path) -> list[Path]:
    """The modules for the first archive, in loading order."""
    (modules,) = folders_of_modules(prepared / "root")
    return loading_order(modules, ROOT_MODULES)


def qemu_command(
    prepared: Path, initramfs: Path, console: Path, streams: dict[str, int], memory: int
) -> list[str]:
    """The command that boots. ``streams`` are descriptors by name; ``memory`` is in MiB."""
    command = [
        PROGRAM, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-M", "q35", "-accel", "tcg,tb-size=512", "-cpu", "max,la57=off",
        "-smp", "1", "-m", str(memory),
        "-kernel", str(prepared / "vmlinux"), "-initrd", str(initramfs),
        "-append", _KERNEL_ARGUMENTS, "-serial", f"file:{console}",
        "-device", "virtio-serial-pci",
    ]  # fmt: skip
    for name, descriptor in streams.items():
        command += ["-chardev", f"socket,id={name},fd={descriptor}"]
        command += ["-device", f"virtserialport,chardev={name},name={name}"]
    for tag, shared in (("root", Path("/")), ("modules", prepared / "root")):
        # remap: files of several file systems under one share must not be taken for one another.
        options = "security_model=none,readonly=on,multidevs=remap"
        path = str(shared).replace(",", ",,")
        command += ["-fsdev", f"local,id={tag},path={path},{options}"]
        command += ["-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]
    return command
