"""The packages of peers, unpacked once into the user's cache folder."""

import hashlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from plutino.lab.guest.cache import find_prepared, prepare_once
from plutino.lab.guest.errors import GuestError
from plutino.lab.guest.packages import PackageSource, Say


@dataclass(frozen=True, slots=True)
class Peer:
    """An IKE daemon by Debian's packages; the first one tells its version."""

    name: str
    packages: tuple[str, ...]

    def recipe(self) -> str:
        """A hash of the packages' names."""
        return hashlib.sha256(" ".join(self.packages).encode()).hexdigest()[:12]


STRONGSWAN: Final = Peer(
    "strongswan",
    (
        "strongswan-charon",
        "libstrongswan",
        "libstrongswan-standard-plugins",
        "libstrongswan-extra-plugins",
        "libcharon-extra-plugins",
        "strongswan-swanctl",
        "strongswan-libcharon",
    ),
)
LIBRESWAN: Final = Peer(
    "libreswan",
    (
        "libreswan",
        "libnss3-tools",
        # Libraries that a system need not have without it; the packages are those of Debian 12.
        "libnss3",
        "libnspr4",
        "libcurl3-nss",
        "libunbound8",
        "libldns3",
        "libevent-2.1-7",
        "libevent-core-2.1-7",
        "libevent-pthreads-2.1-7",
    ),
)
PEERS: Final = (STRONGSWAN, LIBRESWAN)


def find_peer(peer: Peer) -> Path | None:
    """The folder with a peer's files, as they would lie under /; None if it is not prepared."""
    prepared = find_prepared(peer)
    return None if prepared is None else prepared / "root"


def prepare_peer(peer: Peer, say: Say) -> None:
    """Downloads and unpacks a peer, unless that was done. GuestError where it cannot be had."""

    def make(folder: Path) -> str:
        source = PackageSource()
        found = [source.find(one.replace("+", r"\+"), one, say) for one in peer.packages]
        for package in found:
            archive = source.download(package, folder, say)
            try:
                subprocess.run(["dpkg", "-x", archive, folder / "root"], check=True)
            except subprocess.CalledProcessError as error:
                raise GuestError(f"cannot unpack {package.name}: {error}") from error
            archive.unlink()
        (folder / "root").chmod(0o755)
        return found[0].version

    prepare_once(peer, make, lambda: say(f"another process is preparing {peer.name}: waiting"))


def _say(words: str) -> None:
    print(f"plutino: {words}", file=sys.stderr)


def _main() -> None:
    failed = False
    for peer in PEERS:
        try:
            prepare_peer(peer, _say)
        except GuestError as error:
            _say(f"no {peer.name}: {error}")
            failed = True
    sys.exit(failed)


if __name__ == "__main__":
    _main()
