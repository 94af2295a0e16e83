"""The packages of peers, unpacked once into the user's cache folder."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from plutino.lab.guest.cache import cache_folder
from plutino.lab.guest.errors import GuestError
from plutino.lab.guest.packages import PackageSource, Say

STRONGSWAN: Final = (
    "strongswan-charon",
    "libstrongswan",
    "libstrongswan-standard-plugins",
    "libstrongswan-extra-plugins",
    "libcharon-extra-plugins",
    "strongswan-swanctl",
    "strongswan-libcharon",
)
PEERS: Final = {"strongswan": STRONGSWAN}


def find_peer(name: str) -> Path | None:
    """The folder with a peer's files, as they would lie under /; None if it is not prepared."""
    found = sorted(_folder().glob(f"{name}_*"), key=lambda path: path.stat().st_mtime)
    return found[-1] if found else None


def prepare_peer(name: str, say: Say) -> Path:
    """Downloads and unpacks a peer, unless that was done. GuestError where it cannot be had."""
    ready = find_peer(name)
    if ready is not None:
        return ready
    source = PackageSource()
    making = Path(tempfile.mkdtemp(prefix=".making-", dir=_folder()))
    try:
        version = ""
        for package in PEERS[name]:
            found = source.find(package.replace("+", r"\+"), package, say)
            version = found.version.replace("/", "-")
            archive = source.download(found, making, say)
            root = making / "root"
            subprocess.run(["dpkg", "-x", archive, root], check=True)
        ready = _folder() / f"{name}_{version}"
        (making / "root").chmod(0o755)
        if not ready.exists():
            (making / "root").rename(ready)
    except subprocess.CalledProcessError as error:
        raise GuestError(f"cannot unpack {name}: {error}") from error
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return ready


def _folder() -> Path:
    folder = cache_folder().parent / "peers"
    folder.mkdir(exist_ok=True)
    return folder


def _say(words: str) -> None:
    print(f"plutino: {words}", file=sys.stderr)


def _main() -> None:
    for name in PEERS:
        try:
            prepare_peer(name, _say)
        except GuestError as error:
            print(f"plutino: no {name}: {error}", file=sys.stderr)
            sys.exit(1)


if __name__ == "__main__":
    _main()
