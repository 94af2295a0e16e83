"""Files beside the gateway file, with words for what keeps us from them."""

import os
import stat
from pathlib import Path
from typing import Final

from plutino.model.errors import ConfigError

_LARGEST: Final = 16 << 20
"""Bytes; ten thousand tunnels take about 4 MB."""


def read_text(path: Path, gateway_file: Path) -> str:
    """The text of a file, of the gateway file itself too."""
    key = "" if path == gateway_file else str(path)
    octets = read_octets(path, gateway_file, key)
    try:
        return octets.decode()
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        why = f"byte {error.start} is no UTF-8, so this is no TOML"
        raise ConfigError.single(str(path), "", why, line=line) from error


def read_octets(path: Path, gateway_file: Path, key: str, *, largest: int = _LARGEST) -> bytes:
    """What a file holds; ``key`` names it in the gateway file, ``largest`` is in bytes."""
    try:
        with path.open("rb") as file:
            octets = file.read(largest + 1)
    except OSError as error:
        hint = "is the path right?" if isinstance(error, FileNotFoundError) else None
        of = "" if key in {"", str(path)} else f"{path} "
        why = f"{of}cannot be read: {error.strerror}"
        raise ConfigError.single(str(gateway_file), key, why, hint) from error
    if len(octets) > largest:
        raise ConfigError.single(str(path), "", f"is larger than {largest} bytes")
    return octets


def check_privacy(path: Path, gateway_file: Path, key: str, made_by: str) -> None:
    """A key file is a regular file that only its owner can open, and the owner is us or root.

    ``made_by`` is the command that makes such a file, for who has none.
    """
    try:
        found = path.stat()
    except OSError as error:
        why = f"{path} cannot be read: {error.strerror}"
        hint = f"make it with `{made_by}`; the path is relative to the gateway file"
        raise ConfigError.single(str(gateway_file), key, why, hint) from error
    if not stat.S_ISREG(found.st_mode):
        raise ConfigError.single(str(gateway_file), key, f"{path} is no regular file")
    if found.st_uid not in (0, os.geteuid()):
        why = f"{path} belongs to another user, who could change it"
        raise ConfigError.single(str(gateway_file), key, why, f"chown root {path}")
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        why = f"{path} holds keys, but others can open it (mode {stat.S_IMODE(found.st_mode):04o})"
        raise ConfigError.single(str(gateway_file), key, why, f"chmod 600 {path}")
