"""Keys of IKE SAs in a file that Wireshark reads: for debugging, and only where it is asked for."""

import os
from pathlib import Path

from plutino.model.errors import PlaneError

WARNING = "the keys of IKE SAs are written to {path}: whoever reads it can read what they protect"


class KeyLog:
    """Lines are added to the file, which is its owner's alone; PlaneError if it cannot be so."""

    def __init__(self, path: Path) -> None:
        self.path = path
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            descriptor = os.open(path, flags, 0o600)
        except OSError as error:
            hint = "give the name of a new file in a folder of your own"
            raise PlaneError(f"{path} cannot be written: {error.strerror}", hint) from error
        if os.fstat(descriptor).st_mode & 0o077:
            os.close(descriptor)
            raise PlaneError(f"others can read {path}", "remove it: it is made anew, mode 0600")
        self._file = os.fdopen(descriptor, "w")

    def note(self, line: str) -> None:
        """One more IKE SA, or other keys of one, as Wireshark's table has them."""
        self._file.write(f"{line}\n")
        self._file.flush()
