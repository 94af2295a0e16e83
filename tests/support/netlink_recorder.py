"""Records what a netlink tool sends, by a small library that is preloaded into it."""

import os
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("record_netlink.c")


class NetlinkRecorder:
    """Compiled once into ``folder``; the tool then runs in the caller's network namespace."""

    def __init__(self, folder: Path) -> None:
        self._library = folder / "record_netlink.so"
        self._output = folder / "sent.hex"
        subprocess.run(["cc", "-shared", "-fPIC", "-o", self._library, SOURCE, "-ldl"], check=True)

    def sent_by(self, command: list[str]) -> list[bytes]:
        """The datagrams that the command sends, whatever becomes of them."""
        self._output.unlink(missing_ok=True)
        settings = {"LD_PRELOAD": str(self._library), "RECORD_NETLINK": str(self._output)}
        subprocess.run(command, check=False, capture_output=True, env=os.environ | settings)
        lines = self._output.read_text().split() if self._output.exists() else []
        return [bytes.fromhex(line) for line in lines]
