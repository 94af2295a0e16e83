"""OpenSSL's own OCSP responder in a namespace, and one that takes questions and says nothing."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from plutino.lab.namespaces import NetworkNamespace
from plutino.lab.peers.ending import terminate
from tests.support.pki import OCSP_SIGNING, Certified, issue

PORT: Final = 2560
_TIMEOUT: Final = 20.0


@contextmanager
def responder(
    namespace: NetworkNamespace, folder: Path, root: Certified, **states: tuple[Certified, str]
) -> Iterator[None]:
    """Answers about certificates of root: for each its state, ``V`` for good, ``R`` for revoked."""
    signer = issue("responder", root, extensions=(OCSP_SIGNING,))
    lines = (
        f"{state}\t350101000000Z\t{'250101000000Z' if state == 'R' else ''}\t"
        f"{_hexadecimal(one.certificate.serial_number)}\tunknown\t/CN={name}\n"
        for name, (one, state) in states.items()
    )
    files = {"index": "".join(lines).encode(), "ca": root.pem}
    files |= {"signer": signer.pem, "key": signer.key_pem}
    folder.mkdir(exist_ok=True)
    for name, octets in files.items():
        (folder / name).write_bytes(octets)
    with namespace.entered():
        process = subprocess.Popen(
            ["openssl", "ocsp", "-port", str(PORT), "-index", "index", "-CA", "ca",
             "-rsigner", "signer", "-rkey", "key", "-nmin", "60"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        assert process.stdout is not None
        while b"waiting for OCSP client" not in (line := process.stdout.readline()):
            assert line, "openssl ocsp has ended"
        yield
    finally:
        terminate(process, _TIMEOUT)


def _hexadecimal(number: int) -> str:
    digits = f"{number:X}"
    return digits.rjust(len(digits) + len(digits) % 2, "0")


@contextmanager
def silent_responder(namespace: NetworkNamespace) -> Iterator[None]:
    """Connections come about, and nothing comes of them."""
    with namespace.entered():
        listening = socket.create_server(("", PORT))
    with listening:
        yield
