"""Reads a gateway file and the key files that it points to. The only I/O of this package."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from plutino.config.gateway import Gateway
from plutino.config.ike import IkeKeying
from plutino.config.load import load_text
from plutino.config.numbers import standby_keys
from plutino.config.static_keys import StaticKeys, parse_keys
from plutino.model.errors import ConfigError, Problem
from plutino.model.secret import Secret

if TYPE_CHECKING:
    from plutino.config.credentials import CertificateFiles

SHORTEST_PSK: Final = 16
"""Bytes: shorter ones can be found by trying (RFC 7296, 2.15)."""
_LARGEST: Final = 1 << 20
"""Bytes; a thousand tunnels take about 300 KB."""


@dataclass(frozen=True, slots=True)
class LoadedGateway:
    """A gateway with the keys of its tunnels, by tunnel name or ``standby_keys``.

    ``shared_keys`` and ``certificates`` are what IKE proves identities with, by tunnel name.
    """

    gateway: Gateway
    path: Path
    keys: Mapping[str, StaticKeys]
    shared_keys: Mapping[str, Secret] = field(default_factory=dict)
    certificates: Mapping[str, CertificateFiles] = field(default_factory=dict)


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
    certificates: dict[str, CertificateFiles] = {}
    for name, tunnel in gateway.tunnels.items():
        if tunnel.ike is not None and tunnel.ike.ike_sa_of is None:
            try:
                if tunnel.ike.psk_file is not None:
                    shared_keys[name] = _shared_key(path, name, tunnel.ike.psk_file)
                else:
                    certificates[name] = _certificate_files(path, name, tunnel.ike)
            except ConfigError as error:
                problems += error.problems
    problems += _spi_clashes(gateway, keys, str(path))
    if problems:
        raise ConfigError(problems)
    return LoadedGateway(gateway, path, keys, shared_keys, certificates)


def _shared_key(gateway_file: Path, name: str, file: str) -> Secret:
    """A pre-shared key: all bytes of the file but the line's end."""
    path = gateway_file.parent / file
    _check_privacy(path, gateway_file, f"tunnels.{name}.ike.psk-file")
    key = _read(path, gateway_file).rstrip("\r\n").encode()
    if len(key) < SHORTEST_PSK:
        why = f"is a key of {len(key)} bytes, at least {SHORTEST_PSK} are needed"
        raise ConfigError.single(str(path), "", why, "make one: `openssl rand -base64 32`")
    return Secret(key)


def _certificate_files(gateway_file: Path, name: str, ike: IkeKeying) -> CertificateFiles:
    """Their contents; what is in them is looked at by ``credentials``."""
    from plutino.config.credentials import parse_certificates  # noqa: PLC0415 -- slow to load

    assert ike.certificate is not None
    assert ike.private_key is not None
    assert ike.authorities is not None
    folder = gateway_file.parent
    key = folder / ike.private_key
    _check_privacy(key, gateway_file, f"tunnels.{name}.ike.private-key")
    return parse_certificates(
        *((str(one), _read(one, gateway_file)) for one in (folder / ike.certificate, key)),
        authorities=(str(folder / ike.authorities), _read(folder / ike.authorities, gateway_file)),
    )


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
    try:
        with path.open("rb") as file:
            octets = file.read(_LARGEST + 1)
    except OSError as error:
        hint = "is the path right?" if isinstance(error, FileNotFoundError) else None
        why = f"cannot be read: {error.strerror}"
        raise ConfigError.single(str(gateway_file), key, why, hint) from error
    if len(octets) > _LARGEST:
        raise ConfigError.single(str(path), "", f"is larger than {_LARGEST} bytes")
    try:
        return octets.decode()
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        why = f"byte {error.start} is no UTF-8, so this is no TOML"
        raise ConfigError.single(str(path), "", why, line=line) from error


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
