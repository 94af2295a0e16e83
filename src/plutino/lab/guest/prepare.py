"""Makes a kernel ready to boot: from the cache, or by its recipe."""

import platform
import shutil
from pathlib import Path

from plutino.lab.guest.cache import prepare_once
from plutino.lab.guest.errors import GuestError
from plutino.lab.guest.kernels import Kernel, Machine
from plutino.lab.guest.packages import PackageSource, Say
from plutino.lab.guest.qemu import prepare_qemu
from plutino.lab.guest.suites import private_apt
from plutino.lab.guest.uml import prepare_uml


def prepare(kernel: Kernel, say: Say) -> Path:
    """The folder of a kernel that is ready to boot; ``say`` gets a line per step.

    Raises GuestError.
    """
    if platform.machine() != "x86_64":
        raise GuestError(f"guests are for x86_64, and this is {platform.machine()}")
    recipe = prepare_qemu if kernel.machine is Machine.QEMU else prepare_uml

    def make(folder: Path) -> str:
        if kernel.suite is None:
            return recipe(kernel, PackageSource(), folder, say)
        lists = folder / "apt"
        version = recipe(kernel, PackageSource(private_apt(kernel.suite, lists)), folder, say)
        shutil.rmtree(lists)
        return version

    return prepare_once(kernel, make, lambda: say("another process is preparing it: waiting"))
