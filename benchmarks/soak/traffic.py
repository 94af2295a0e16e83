"""The compiled senders, receivers and taps of the soak (``traffic.c``), and their counters."""

import mmap
import struct
import subprocess
from pathlib import Path
from typing import Final

from plutino.lab.namespaces import NetworkNamespace
from plutino.model.errors import PlaneError

FIELDS: Final = (
    "stop", "sent", "received", "highest", "twice", "corrupt", "octets",
    "esp", "neighbour", "clear", "marked", "missed",
    "forwarded", "lost", "reordered", "duplicated", "hush",
)  # fmt: skip
"""Counters of ``struct page``, in its order."""
WIRE_FIELDS: Final = FIELDS[7:12]
"""What a tap counts."""
FORWARD_FIELDS: Final = FIELDS[12:16]
"""What a bad wire counts."""


class Traffic:
    """One process of ``traffic.c`` in a namespace, and its counters."""

    def __init__(
        self, program: Path, namespace: NetworkNamespace, page: Path, role: str, *words: str
    ) -> None:
        self.role = role
        if not page.exists():
            page.write_bytes(bytes(mmap.PAGESIZE))
        with page.open("r+b") as opened:
            self._page = mmap.mmap(opened.fileno(), 0)
        with namespace.entered():
            self.process = subprocess.Popen([program, role, page, *words])

    def counters(self) -> dict[str, int]:
        """All of them, by name."""
        return dict(zip(FIELDS, struct.unpack_from(f"={len(FIELDS)}Q", self._page), strict=True))

    def hush(self) -> None:
        """Let a sender send no more, while its receiver goes on."""
        self._say("hush")

    def _say(self, word: str) -> None:
        struct.pack_into("=Q", self._page, 8 * FIELDS.index(word), 1)

    def stop(self) -> None:
        """Let it end, which takes it a tenth of a second."""
        self._say("stop")
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def build_traffic(folder: Path) -> Path:
    """Compile ``traffic.c``. Raises PlaneError without a compiler."""
    program = folder / "soak_traffic"
    source = Path(__file__).with_name("traffic.c")
    command = ["cc", "-O2", "-o", str(program), str(source)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise PlaneError(f"{source.name} cannot be compiled: {error}") from error
    return program
