"""Reads a gateway file and the key files that it points to. The only I/O of this package."""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from cryptography import x509

from plutino.config.credentials import (
    SignatureFiles,
    check_issuer,
    parse_revocation_list,
    parse_signature_files,
)
from plutino.config.gateway import Gateway
from plutino.config.ike import IkeKeying
from plutino.config.load import load_text
from plutino.config.numbers import standby_keys
from plutino.config.static_keys import StaticKeys, parse_keys
from plutino.model.errors import ConfigError, Problem
from plutino.model.secret import Secret

SHORTEST_PSK: Final = 16
"""Bytes: shorter ones can be found by trying (RFC 7296, 2.15)."""
SHORTEST_PPK: Final = 32
"""Bytes: half of the bits are what a quantum computer leaves (RFC 8784, 6)."""
_LARGEST: Final = 1 << 20
"""Bytes; a thousand tunnels take about 300 KB."""
_LARGEST_LIST: Final = 1 << 24
"""Bytes of a certificate revocation list; a hundred thousand entries take about 4 MB."""


@dataclass(frozen=True, slots=True)
class LoadedGateway:
    """A gateway with the keys of its tunnels, by tunnel name or ``standby_keys``.

    ``shared_keys`` and ``signature_files`` are what IKE proves identities with, by tunnel name;
    ``postquantum_keys`` are mixed into its keys besides.
    """

    gateway: Gateway
    path: Path
    keys: Mapping[str, StaticKeys]
    shared_keys: Mapping[str, Secret] = field(default_factory=dict)
    signature_files: Mapping[str, SignatureFiles] = field(default_factory=dict)
    postquantum_keys: Mapping[str, Secret] = field(default_factory=dict)


def load_gateway(path: Path) -> LoadedGateway:
    """Read the file and its keys. Raises ConfigError with all problems."""
    gateway = load_text(_read(path, path), str(path))
    keys: dict[str, StaticKeys] = {}
    problems: list[Problem] = []
    for name, (file, key) in _key_files(gateway).items():
        key_path = path.parent / file
        try:
            _check_privacy(key_path, path, key)
            keys[name] = parse_keys(_read(key_path, path), str(key_path))
        except ConfigError as error:
            problems += error.problems
    shared_keys: dict[str, Secret] = {}
    postquantum_keys: dict[str, Secret] = {}
    signature_files: dict[str, SignatureFiles] = {}
    revoked = _RevocationLists(path)
    for name, tunnel in gateway.tunnels.items():
        if tunnel.ike is not None:
            try:
                at = f"tunnels.{name}.ike"
                if (ppk_file := tunnel.ike.ppk_file) is not None:
                    postquantum_keys[name] = _shared_key(
                        path, f"{at}.ppk-file", ppk_file, SHORTEST_PPK
                    )
                if (psk_file := tunnel.ike.psk_file) is not None:
                    shared_keys[name] = _shared_key(path, f"{at}.psk-file", psk_file, SHORTEST_PSK)
                else:
                    files = _signature_files(path, name, tunnel.ike, revoked)
                    signature_files[name] = files
            except ConfigError as error:
                problems += error.problems
    problems += _spi_clashes(gateway, keys, str(path))
    if problems:
        raise ConfigError(problems)
    return LoadedGateway(gateway, path, keys, shared_keys, signature_files, postquantum_keys)


def _shared_key(gateway_file: Path, at: str, file: str, shortest: int) -> Secret:
    """A pre-shared key: all bytes of the file but the line's end."""
    path = gateway_file.parent / file
    _check_privacy(path, gateway_file, at)
    key = _read(path, gateway_file).rstrip("\r\n").encode()
    if len(key) < shortest:
        why = f"is a key of {len(key)} bytes, at least {shortest} are needed"
        raise ConfigError.single(str(path), "", why, "make one: `openssl rand -base64 32`")
    return Secret(key)


def _signature_files(
    gateway_file: Path, name: str, ike: IkeKeying, revoked: "_RevocationLists"
) -> SignatureFiles:
    """Their contents; what is in them is looked at by ``credentials``."""

    def named(file: str | None) -> tuple[str, str] | None:
        path = gateway_file.parent / (file or "")
        return None if file is None else (str(path), _read(path, gateway_file))

    assert ike.private_key is not None
    path = gateway_file.parent / ike.private_key
    _check_privacy(path, gateway_file, f"tunnels.{name}.ike.private-key")
    files = parse_signature_files(
        (str(path), _read(path, gateway_file)),
        *map(named, (ike.certificate, ike.authorities, ike.remote_public_key)),
    )
    return replace(files, revoked=revoked.of(name, ike, files))


class _RevocationLists:
    """Each file is read once, however many tunnels name it."""

    def __init__(self, gateway_file: Path) -> None:
        self._gateway_file = gateway_file
        self._read: dict[Path, x509.CertificateRevocationList] = {}
        self._checked: set[tuple[Path, str | None]] = set()

    def of(
        self, name: str, ike: IkeKeying, files: SignatureFiles
    ) -> tuple[x509.CertificateRevocationList, ...]:
        """The lists of a tunnel; ConfigError if one cannot be read or used."""
        found = []
        for place, file in enumerate(ike.crls):
            path = self._gateway_file.parent / file
            if path not in self._read:
                key = f"tunnels.{name}.ike.crls[{place}]"
                octets = _octets(path, self._gateway_file, key, largest=_LARGEST_LIST)
                self._read[path] = parse_revocation_list(str(path), octets)
            if (path, ike.authorities) not in self._checked:
                check_issuer(str(path), self._read[path], files.authorities)
                self._checked.add((path, ike.authorities))
            found.append(self._read[path])
        return tuple(found)


def _key_files(gateway: Gateway) -> Mapping[str, tuple[str, str]]:
    """Every key file, with the key that names it, by the name of the keys."""
    files = {}
    for name, tunnel in gateway.tunnels.items():
        if tunnel.static is not None:
            files[name] = tunnel.static.key_file, f"tunnels.{name}.static.key-file"
        for place, one in enumerate(tunnel.standby):
            key = f"tunnels.{name}.standby[{place}].key-file"
            files[standby_keys(name, place)] = one.key_file, key
    return files


def _read(path: Path, gateway_file: Path) -> str:
    key = "" if path == gateway_file else str(path)
    octets = _octets(path, gateway_file, key)
    try:
        return octets.decode()
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        why = f"byte {error.start} is no UTF-8, so this is no TOML"
        raise ConfigError.single(str(path), "", why, line=line) from error


def _octets(path: Path, gateway_file: Path, key: str, *, largest: int = _LARGEST) -> bytes:
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


def _check_privacy(path: Path, gateway_file: Path, key: str) -> None:
    """A key file is a regular file that only its owner can open, and the owner is us or root."""
    try:
        found = path.stat()
    except OSError as error:
        why = f"{path} cannot be read: {error.strerror}"
        hint = "make it with `plutino keygen`; the path is relative to the gateway file"
        raise ConfigError.single(str(gateway_file), key, why, hint) from error
    if not stat.S_ISREG(found.st_mode):
        raise ConfigError.single(str(gateway_file), key, f"{path} is no regular file")
    if found.st_uid not in (0, os.geteuid()):
        why = f"{path} belongs to another user, who could change it"
        raise ConfigError.single(str(gateway_file), key, why, f"chown root {path}")
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        why = f"{path} holds keys, but others can open it (mode {stat.S_IMODE(found.st_mode):04o})"
        raise ConfigError.single(str(gateway_file), key, why, f"chmod 600 {path}")


def _spi_clashes(gateway: Gateway, keys: Mapping[str, StaticKeys], file: str) -> list[Problem]:
    """Two SAs to one address with one SPI are one to the kernel (RFC 4303, 2.1).

    Uplinks may give any address to any of their tunnels.
    """
    seen: dict[tuple[object, int], str] = {}
    problems = []
    for name, one in keys.items():
        tunnel = gateway.tunnels[name.partition("/")[0]]
        ends = [("us" if tunnel.uplinks else tunnel.local, one.inbound.spi)]
        ends += [(remote, one.outbound.spi) for remote in tunnel.peers]
        for address, spi in ends:
            other = seen.setdefault((address, spi), name)
            if other != name:
                whose = _key_files(gateway)[other][1]
                why = f"SPI {spi} towards {address} is that of `{whose}` already"
                hint = "each pair of SAs needs keys of its own: run `plutino keygen` again"
                problems.append(Problem(file, None, _key_files(gateway)[name][1], why, hint))
    return problems
