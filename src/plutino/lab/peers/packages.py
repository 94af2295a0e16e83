"""The packages of peers, unpacked once into the user's cache folder.

``python -m plutino.lab.peers.packages`` brings those that the tests need, or those it is told.
"""

import hashlib
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from plutino.lab.guest.cache import find_prepared, prepare_once
from plutino.lab.guest.errors import GuestError
from plutino.lab.guest.packages import PackageSource, Say
from plutino.lab.guest.suites import private_apt


@dataclass(frozen=True, slots=True)
class Peer:
    """An IKE daemon by Debian's packages; the first one tells its version.

    ``suite`` is a newer one of the same mirror, whose libraries come with it.
    """

    name: str
    packages: tuple[str, ...]
    suite: str | None = None

    def recipe(self) -> str:
        """A hash of the packages' names, and of the suite."""
        words = (*self.packages, self.suite or "")
        return hashlib.sha256(" ".join(words).strip().encode()).hexdigest()[:12]


_CHARON: Final = (
    "strongswan-charon",
    "libstrongswan",
    "libstrongswan-standard-plugins",
    "libstrongswan-extra-plugins",
    "libcharon-extra-plugins",
    "strongswan-swanctl",
    "strongswan-libcharon",
)
STRONGSWAN: Final = Peer("strongswan", _CHARON)
STRONGSWAN_6: Final = Peer("strongswan-6", (*_CHARON, "libc6", "libssl3t64"), "forky")
"""The first suite whose strongSwan has ML-KEM, by its OpenSSL."""
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
LIBRESWAN_5: Final = Peer(
    "libreswan-5",
    (
        "libreswan",
        "libnss3-tools",
        # All of its libraries, and all of theirs: none may be an older one of the system.
        "libc6", "libgcc-s1", "zlib1g", "libzstd1", "libbrotli1",
        "libnss3", "libnspr4", "libsqlite3-0", "libssl3t64",
        "libcurl4-gnutls", "libgnutls30t64", "libnettle8t64", "libhogweed6t64", "libgmp10",
        "libp11-kit0", "libffi8", "libtasn1-6", "libidn2-0", "libunistring5", "libpsl5t64",
        "libnghttp2-14", "libnghttp3-9", "libngtcp2-16", "libngtcp2-crypto-gnutls8",
        "libssh2-1t64", "libldap2", "libsasl2-2",
        "libgssapi-krb5-2", "libkrb5-3", "libk5crypto3", "libkrb5support0", "libcom-err2",
        "libkeyutils1",
        "libunbound8", "libldns3t64", "libprotobuf-c1",
        "libevent-2.1-7t64", "libevent-core-2.1-7t64", "libevent-pthreads-2.1-7t64",
        "libaudit1", "libcap-ng0", "libcrypt1", "libpam0g", "libselinux1", "libpcre2-8-0",
    ),
    "forky",
)  # fmt: skip
DEFAULT_PEERS: Final = (STRONGSWAN, LIBRESWAN)
PEERS: Final = {one.name: one for one in (*DEFAULT_PEERS, STRONGSWAN_6, LIBRESWAN_5)}


def find_peer(peer: Peer) -> Path | None:
    """The folder with a peer's files, as they would lie under /; None if it is not prepared."""
    prepared = find_prepared(peer)
    return None if prepared is None else prepared / "root"


def prepare_peer(peer: Peer, say: Say) -> None:
    """Downloads and unpacks a peer, unless that was done. GuestError where it cannot be had."""

    def make(folder: Path) -> str:
        lists = folder / "apt"
        variables = {} if peer.suite is None else private_apt(peer.suite, lists)
        source = PackageSource(variables)
        found = [source.find(one.replace("+", r"\+"), one, say) for one in peer.packages]
        for package in found:
            archive = source.download(package, folder, say)
            try:
                subprocess.run(["dpkg", "-x", archive, folder / "root"], check=True)
            except subprocess.CalledProcessError as error:
                raise GuestError(f"cannot unpack {package.name}: {error}") from error
            archive.unlink()
        (folder / "root").chmod(0o755)
        shutil.rmtree(lists, ignore_errors=True)
        return found[0].version

    prepare_once(peer, make, lambda: say(f"another process is preparing {peer.name}: waiting"))


def _say(words: str) -> None:
    print(f"plutino: {words}", file=sys.stderr)


def _main() -> None:
    failed = False
    for peer in [PEERS[name] for name in sys.argv[1:]] or DEFAULT_PEERS:
        try:
            prepare_peer(peer, _say)
        except GuestError as error:
            _say(f"no {peer.name}: {error}")
            failed = True
    sys.exit(failed)


if __name__ == "__main__":
    _main()
