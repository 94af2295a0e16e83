"""IKE SAs on disk: what was kept comes back, for the same peer and with the same key alone."""

import os
import resource
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from plutino.daemon.ike_store import IkeStore
from plutino.dataplane.runtime import RuntimePaths

SPI, OTHER = bytes(7) + b"\1", bytes(7) + b"\2"
PEERS = {"berlin": b"as configured", "rome.example": b"otherwise"}


def runtime_in(folder: Path) -> RuntimePaths:
    runtime = RuntimePaths(folder / "run", folder / "state")
    runtime.directory.mkdir()
    return runtime


def loaded(
    runtime: RuntimePaths, peers: dict[str, bytes] | None = None
) -> tuple[set[tuple[str, bytes, bytes]], list[str]]:
    said: list[str] = []
    return set(IkeStore(runtime, peers or PEERS, said.append).load()), said


def test_what_is_kept_comes_back_and_what_is_not_does_not(tmp_path: Path) -> None:
    runtime = runtime_in(tmp_path)
    store = IkeStore(runtime, PEERS, print)
    assert not [*store.load()]
    store.keep({("berlin", SPI): b"one", ("rome.example", OTHER): b"two", ("berlin", OTHER): b"x"})
    store.keep({("berlin", SPI): b"another", ("berlin", OTHER): None})
    assert loaded(runtime) == ({("berlin", SPI, b"another"), ("rome.example", OTHER, b"two")}, [])


def test_another_configuration_or_key_makes_it_useless(tmp_path: Path) -> None:
    runtime = runtime_in(tmp_path)
    IkeStore(runtime, PEERS, print).keep({("berlin", SPI): b"one", ("rome.example", SPI): b"two"})
    found, said = loaded(runtime, PEERS | {"berlin": b"changed"})
    assert found == {("rome.example", SPI, b"two")}
    assert len(said) == 1
    assert said[0].startswith("tunnel 'berlin': its saved IKE SA cannot be used")
    assert loaded(runtime) == (found, [])
    runtime.ike_key.unlink()
    assert loaded(runtime) == (set(), [])


def test_what_cannot_be_written_is_not_as_it_was_before_either(tmp_path: Path) -> None:
    runtime, said = runtime_in(tmp_path), list[str]()
    store = IkeStore(runtime, PEERS, said.append)
    store.keep({("berlin", SPI): b"one", ("rome.example", SPI): b"two"})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = (runtime.ike_folder / "sas").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        for _ in range(2):
            store.keep({("berlin", SPI): b"another"})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [one.startswith("warning: IKE SAs are not kept in") for one in said] == [True]
    assert loaded(runtime) == ({("rome.example", SPI, b"two")}, [])


def test_files_of_an_earlier_version_are_taken_over(tmp_path: Path) -> None:
    runtime = runtime_in(tmp_path)
    IkeStore(runtime, PEERS, print)
    nonce, name = os.urandom(12), f"rome.example.{SPI.hex()}"
    cipher = AESGCM(runtime.ike_key.read_bytes())
    bound_to = name.encode() + b"\0" + PEERS["rome.example"]
    runtime.ike_folder.mkdir(parents=True)
    (runtime.ike_folder / name).write_bytes(nonce + cipher.encrypt(nonce, b"old", bound_to))
    (runtime.ike_folder / f"{name}.new").write_bytes(b"a part")
    for _ in range(2):
        assert loaded(runtime) == ({("rome.example", SPI, b"old")}, [])
        assert [one.name for one in runtime.ike_folder.iterdir()] == ["sas"]
