"""nftables through ``nft``: a table is replaced as one transaction, and known again by its listing.

nft's listing differs from what was loaded, so the listing that followed each change is kept beside
the text: a table is as we made it if it still lists like that.
"""

import errno
import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from plutino.model.errors import KernelError, PlaneError
from plutino.model.netfilter import NetfilterTable
from plutino.netfilter.generation import ruleset_generation

PROGRAM: Final = "nft"
_FAMILY: Final = "inet"
_CHANGED: Final = "# changed by others"
_PASSING: Final = re.compile(r""""(?:handle|packets|bytes)": [0-9]+|\{"metainfo": \{[^{}]*\}\}""")
"""What a listing shows and a change by others is not; in a text a quote would have a backslash.

A listing of thousands of rules is not taken apart for it: that would take as long as nft itself.
"""


class NetfilterClient:
    """The table of one instance in the current network namespace.

    ``memory`` is the file that keeps its text and listing. Every method raises KernelError if nft
    refuses, with its words; PlaneError if nft is not there and needed.
    """

    def __init__(self, name: str, memory: Path | None) -> None:
        self._name = name
        self._memory = memory
        self._seen: str | None = None

    @staticmethod
    def is_there() -> bool:
        """Whether this machine has nft and its kernel nftables."""
        if shutil.which(PROGRAM) is None:
            return False
        try:
            ruleset_generation()  # `nft list tables` reads all rules of others
        except PlaneError:
            return False
        return True

    def observe(self) -> NetfilterTable | None:
        """What is there: our text, or a remark if others changed it; None if nothing."""
        if not self.is_there():
            return None
        self._seen = self._list()
        if self._seen is None:
            return None
        kept = self._read()
        if kept.get("listing") == _digest(self._seen):
            return NetfilterTable(self._name, str(kept.get("body")))
        return NetfilterTable(self._name, _CHANGED)

    def dropped(self, comment: str) -> int:
        """Packets that rules with that comment had counted when it was observed.

        0 where there is no such rule.
        """
        try:
            found = [] if self._seen is None else json.loads(self._seen)["nftables"]
        except (ValueError, KeyError):
            return 0
        rules = [one["rule"] for one in found if "rule" in one]
        return sum(
            int(part["counter"]["packets"])
            for rule in rules
            if rule.get("comment") == comment
            for part in rule.get("expr", ())
            if "counter" in part and isinstance(part["counter"], dict)
        )

    def replace(self, table: NetfilterTable) -> None:
        """Make it, or put it in the place of what is there, at once."""
        name = f"{_FAMILY} {table.name}"
        # Adding first makes the deletion right in any case.
        script = f"table {name}\ndelete table {name}\ntable {name} {{\n{table.body}\n}}\n"
        _run(f"load nftables table {table.name}", ["-f", "-"], script)
        self._write({"body": table.body, "listing": _digest(self._list() or "")})

    def delete(self) -> None:
        """Take it away."""
        _run(f"delete nftables table {self._name}", ["delete", "table", _FAMILY, self._name])
        if self._memory is not None:
            self._memory.unlink(missing_ok=True)

    def _list(self) -> str | None:
        command = [PROGRAM, "-j", "list", "table", _FAMILY, self._name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout if done.returncode == 0 else None

    def _read(self) -> Mapping[str, object]:
        try:
            found = json.loads(self._memory.read_text()) if self._memory is not None else {}
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _write(self, document: Mapping[str, str]) -> None:
        if self._memory is None:
            return
        try:
            self._memory.write_text(json.dumps(document))
        except OSError as error:
            raise PlaneError(f"{self._memory} cannot be written: {error.strerror}") from error


def _digest(listing: str) -> str:
    return hashlib.sha256(_PASSING.sub("", listing).encode()).hexdigest()


def _run(step: str, arguments: list[str], script: str = "") -> None:
    try:
        done = subprocess.run(
            [PROGRAM, *arguments], input=script, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise PlaneError(
            f"{step}: {PROGRAM} is not installed", "apt-get install nftables"
        ) from error
    if done.returncode != 0:
        words = next((line for line in done.stderr.splitlines() if line), "nft says nothing")
        raise KernelError(step, errno.EINVAL, words)
