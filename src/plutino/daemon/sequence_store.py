"""Sequence numbers on disk: a file that is written whole and atomically, and a journal beside it.

What new SAs of IKE need is added to the journal, so that it costs the same however many others
there are. The next whole file holds it, too, and ends the journal.
"""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from plutino.desired.sequences import SaIdentity, SavedSequence, Sequences
from plutino.model.errors import PlaneError

_VERSION: Final = 1
_JOURNAL: Final = ".journal"
_Record = tuple[SaIdentity, SavedSequence]


@dataclass(slots=True)
class _Known:
    """What files hold, and by what it is told whether they are still the same.

    ``length`` is that of the journal's whole lines: the rest was cut off by a crash, and nothing
    that it spoke of was done.
    """

    state: tuple[int, ...]
    length: int
    sequences: dict[SaIdentity, SavedSequence] = field(default_factory=dict)


_known: dict[Path, _Known] = {}
"""Of files that were read or written before."""


def load_sequences(path: Path) -> Sequences:
    """What was saved; nothing if there is no file. Raises PlaneError for a file that is broken.

    A broken file must not count as empty: numbers would come again. What is added later is in the
    same mapping.
    """
    return _load(path).sequences


def _load(path: Path) -> _Known:
    try:
        state = _state(path)
        known = _known.get(path)
        if known is not None and known.state == state:
            return known
        found = _Known(state, 0)
        with suppress(FileNotFoundError):
            found.sequences.update(_parse(path, path.read_text()))
        with suppress(FileNotFoundError):
            lines, _, _ = path.with_suffix(_JOURNAL).read_bytes().rpartition(b"\n")
            found.length = len(lines) + 1 if lines else 0
            _add(found.sequences, _parse_journal(path, lines))
    except (OSError, ValueError) as error:
        raise _broken(path, str(error)) from error
    _known[path] = found
    return found


def _state(path: Path) -> tuple[int, ...]:
    """Another file is put in the place of one that changes, so this is another one then."""
    state: tuple[int, ...] = ()
    for place, one in enumerate((path, path.with_suffix(_JOURNAL))):
        with suppress(FileNotFoundError):
            found = one.stat()
            state += place, found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
    return state


def _parse(path: Path, text: str) -> Iterator[_Record]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise _broken(path, str(error)) from error
    try:
        if document["version"] != _VERSION:
            raise _broken(path, f"its version is {document['version']}, not {_VERSION}")
        yield from map(_parse_one, document["sas"])
    except (KeyError, TypeError, ValueError) as error:
        raise _broken(path, f"it lacks {error}") from error


def _parse_journal(path: Path, lines: bytes) -> Iterator[_Record]:
    journal = path.with_suffix(_JOURNAL)
    try:
        yield from (_parse_one(json.loads(line)) for line in lines.split(b"\n") if lines)
    except (KeyError, TypeError, ValueError) as error:
        raise _broken(journal, f"a line lacks {error}") from error


def _parse_one(one: Any) -> _Record:
    identity = ip_address(one["destination"]), int(one["spi"]), int(one["protocol"])
    by_ike = bool(one.get("by-ike", False))
    return identity, SavedSequence(int(one["oseq"]), int(one["seq"]), by_ike)


def _add(sequences: dict[SaIdentity, SavedSequence], records: Iterator[_Record]) -> None:
    """A journal that a crash has left beside a newer file takes nothing back."""
    for identity, new in records:
        old = sequences.get(identity, SavedSequence())
        most = max(old.oseq, new.oseq), max(old.seq, new.seq)
        sequences[identity] = SavedSequence(*most, old.by_ike or new.by_ike)


def save_sequences(path: Path, sequences: Sequences) -> None:
    """Write them, so that after a crash either the old or the new file is there.

    Raises OSError if the disk refuses.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    document = {"version": _VERSION, "sas": [_encode(*one) for one in sequences.items()]}
    temporary = path.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(json.dumps(document))  # json.dump() does not use the compiled encoder
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        path.with_suffix(_JOURNAL).unlink(missing_ok=True)
        _known[path] = _Known(_state(path), 0, dict(sequences))
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise


def add_sequences(path: Path, added: Sequences) -> None:
    """Beside what is saved already.

    Raises OSError if the disk refuses, PlaneError where what is there is broken.
    """
    known = _load(path)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lines = "".join(json.dumps(_encode(*one)) + "\n" for one in added.items()).encode()
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
    journal = os.open(path.with_suffix(_JOURNAL), flags, 0o600)
    try:
        os.ftruncate(journal, known.length)
        written = os.pwrite(journal, lines, known.length)
        if written < len(lines):
            os.pwrite(journal, lines[written:], known.length + written)
        os.fsync(journal)
    except OSError:
        with suppress(OSError):
            os.ftruncate(journal, known.length)
        raise
    finally:
        os.close(journal)
    _add(known.sequences, iter(added.items()))
    known.state, known.length = _state(path), known.length + len(lines)


def _encode(identity: SaIdentity, saved: SavedSequence) -> dict[str, str | int | bool]:
    destination, spi, protocol = identity
    return {
        "destination": str(destination),
        "spi": spi,
        "protocol": protocol,
        "oseq": saved.oseq,
        "seq": saved.seq,
        **({"by-ike": True} if saved.by_ike else {}),
    }


def _broken(path: Path, why: str) -> PlaneError:
    return PlaneError(
        f"the saved sequence numbers in {path} cannot be read: {why}",
        hint="make new keys with `plutino keygen` for both ends, then remove the file",
    )
