"""IKE SAs on disk, encrypted: what the next daemon goes on with.

The file is below the state directory, the key that opens it in the runtime directory, which is its
owner's alone and gone with the next boot, as the SAs in the data plane are. Each IKE SA is bound to
its name and to the configuration of its peer, so that none is taken for another's.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from plutino.daemon.record_log import RecordLog
from plutino.dataplane.runtime import RuntimePaths

_KEY_SIZE: Final = 32
_NONCE_SIZE: Final = 12
_FILE: Final = "sas"
_NEW: Final = ".new"
_ONLY_OURS: Final = 0o600


class IkeStore:
    """All IKE SAs in one file; ``fingerprints`` are the peers' configurations by name.

    It never stops the daemon: where nothing can be written, the next daemon begins anew.
    """

    def __init__(
        self, runtime: RuntimePaths, fingerprints: Mapping[str, bytes], log: Callable[[str], None]
    ) -> None:
        self._folder = runtime.ike_folder
        self._log = log
        self._fingerprints = fingerprints
        self._told = False
        self._cipher = AESGCM(_take_key(runtime.ike_key, self._folder))
        self._records = RecordLog(self._folder / _FILE)

    def set_fingerprints(self, fingerprints: Mapping[str, bytes]) -> None:
        """Other configurations from now on."""
        self._fingerprints = fingerprints

    def load(self) -> Iterator[tuple[str, bytes, bytes]]:
        """Peer, SPI, and what was saved; what cannot be used is removed."""
        try:
            found = self._records.load()
        except OSError as error:
            self._tell_of(error)
            return
        self._take_over_files(found)
        for name, sealed in sorted(found.items()):
            peer, _, spi = name.rpartition(".")
            try:
                nonce, rest = sealed[:_NONCE_SIZE], sealed[_NONCE_SIZE:]
                saved = self._cipher.decrypt(nonce, rest, self._bound_to(name))
                number = bytes.fromhex(spi)
            except (InvalidTag, ValueError):
                self._records.drop(name)
                words = "cannot be used (another key, or the file has changed)"
                self._log(f"tunnel '{peer}': its saved IKE SA {words}: a new one is made")
            else:
                yield peer, number, saved

    def _take_over_files(self, found: dict[str, bytes]) -> None:
        """Earlier versions had a file for each."""
        for file in self._folder.glob("*.*"):
            if not file.name.endswith(_NEW):
                with suppress(OSError):
                    found[file.name] = file.read_bytes()
                    self._write({file.name: found[file.name]})
            _remove(file)

    def keep(self, states: Mapping[tuple[str, bytes], bytes | None]) -> None:
        """Write what is to be kept, and remove what is not (None), by peer and SPI."""
        sealed: dict[str, bytes] = {}
        for (peer, spi), saved in states.items():
            name = f"{peer}.{spi.hex()}"
            if saved is None:
                self._records.drop(name)
            else:
                nonce = os.urandom(_NONCE_SIZE)
                sealed[name] = nonce + self._cipher.encrypt(nonce, saved, self._bound_to(name))
        if sealed:
            self._write(sealed)

    def _write(self, sealed: Mapping[str, bytes]) -> None:
        try:
            self._records.add(sealed.items())
        except OSError as error:
            for name in sealed:  # what was true of it before is so no more
                self._records.drop(name)
            self._tell_of(error)

    def _tell_of(self, error: OSError) -> None:
        if not self._told:
            self._told = True
            words = "after a restart new ones are made"
            self._log(f"warning: IKE SAs are not kept in {self._folder}: {error}; {words}")

    def _bound_to(self, name: str) -> bytes:
        return name.encode() + b"\0" + self._fingerprints.get(name.rpartition(".")[0], b"")


def forget_ike_sas(runtime: RuntimePaths) -> None:
    """Nothing is left of any, nor of the key."""
    for file in runtime.ike_folder.glob("*"):
        _remove(file)
    with suppress(OSError):
        runtime.ike_folder.rmdir()
    _remove(runtime.ike_key)


def _take_key(path: Path, folder: Path) -> bytes:
    """The key that is there, or a new one; then nothing that was saved can be used."""
    with suppress(OSError):
        key = path.read_bytes()
        if len(key) == _KEY_SIZE:
            return key
    for file in folder.glob("*"):
        _remove(file)
    key = os.urandom(_KEY_SIZE)
    with suppress(OSError):
        _remove(path)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _ONLY_OURS)
        with os.fdopen(descriptor, "wb") as new:
            new.write(key)
    return key


def _remove(file: Path) -> None:
    with suppress(OSError):
        file.unlink()
