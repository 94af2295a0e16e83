"""Sequence numbers on disk: read whole, written whole and atomically."""

import json
import os
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

from plutino.desired.sequences import SavedSequence, Sequences
from plutino.model.errors import PlaneError

_VERSION = 1
_known: dict[Path, tuple[tuple[int, ...], Sequences]] = {}
"""What files hold that were read or written before, by what tells whether they are the same."""


def load_sequences(path: Path) -> Sequences:
    """What was saved; nothing if there is no file. Raises PlaneError for a file that is broken.

    A broken file must not count as empty: numbers would come again.
    """
    try:
        known = _known.get(path)
        if known is not None and known[0] == _state(path):
            return known[1]
        state, text = _state(path), path.read_text()
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise _broken(path, str(error)) from error
    found = _parse(path, text)
    _known[path] = state, found
    return found


def _state(path: Path) -> tuple[int, ...]:
    """Another file is put in the place of one that changes, so this is another one then."""
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


def _parse(path: Path, text: str) -> Sequences:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise _broken(path, str(error)) from error
    try:
        if document["version"] != _VERSION:
            raise _broken(path, f"its version is {document['version']}, not {_VERSION}")
        return {
            (ip_address(one["destination"]), int(one["spi"]), int(one["protocol"])): SavedSequence(
                int(one["oseq"]), int(one["seq"]), bool(one.get("by-ike", False))
            )
            for one in document["sas"]
        }
    except (KeyError, TypeError, ValueError) as error:
        raise _broken(path, f"it lacks {error}") from error


def save_sequences(path: Path, sequences: Sequences) -> None:
    """Write them, so that after a crash either the old or the new file is there.

    Raises OSError if the disk refuses.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    document = {
        "version": _VERSION,
        "sas": [
            {
                "destination": str(destination),
                "spi": spi,
                "protocol": protocol,
                "oseq": saved.oseq,
                "seq": saved.seq,
                **({"by-ike": True} if saved.by_ike else {}),
            }
            for (destination, spi, protocol), saved in sequences.items()
        ],
    }
    temporary = path.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(json.dumps(document))  # json.dump() does not use the compiled encoder
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _known[path] = _state(path), sequences
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise


def _broken(path: Path, why: str) -> PlaneError:
    return PlaneError(
        f"the saved sequence numbers in {path} cannot be read: {why}",
        hint="make new keys with `plutino keygen` for both ends, then remove the file",
    )
