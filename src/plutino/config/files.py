"""Reads a gateway file and the key files that it points to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from plutino.config.gateway import Gateway
from plutino.config.ike import IkeKeying
from plutino.config.load import load_text
from plutino.config.numbers import standby_keys
from plutino.config.reading import check_privacy, read_text
from plutino.config.static_keys import StaticKeys, parse_keys
from plutino.model.errors import ConfigError, Problem
from plutino.model.secret import Secret

if TYPE_CHECKING:
    from plutino.config.credentials import SignatureFiles

SHORTEST_PSK: Final = 16
"""Bytes: shorter ones can be found by trying (RFC 7296, 2.15)."""
SHORTEST_PPK: Final = 32
"""Bytes: half of the bits are what a quantum computer leaves (RFC 8784, 6)."""
_MAKE_SHARED_KEY: Final = "openssl rand -base64 32"


@dataclass(frozen=True, slots=True)
class SharedKeys:
    """What we and what the peer proves itself by; None where that is a signature."""

    local: Secret | None
    remote: Secret | None


@dataclass(frozen=True, slots=True)
class LoadedGateway:
    """A gateway with the keys of its tunnels, by tunnel name or ``standby_keys``.

    ``shared_keys`` and ``signature_files`` are what IKE proves identities with, by tunnel name;
    ``postquantum_keys`` are mixed into its keys besides.
    """

    gateway: Gateway
    path: Path
    keys: Mapping[str, StaticKeys]
    shared_keys: Mapping[str, SharedKeys] = field(default_factory=dict)
    signature_files: Mapping[str, SignatureFiles] = field(default_factory=dict)
    postquantum_keys: Mapping[str, Secret] = field(default_factory=dict)


def load_gateway(path: Path) -> LoadedGateway:
    """Read the file and its keys. Raises ConfigError with all problems."""
    gateway = load_text(read_text(path, path), str(path))
    keys: dict[str, StaticKeys] = {}
    problems: list[Problem] = []
    for name, (file, key) in _key_files(gateway).items():
        key_path = path.parent / file
        try:
            check_privacy(key_path, path, key, "plutino keygen")
            keys[name] = parse_keys(read_text(key_path, path), str(key_path))
        except ConfigError as error:
            problems += error.problems
    shared_keys: dict[str, SharedKeys] = {}
    postquantum_keys: dict[str, Secret] = {}
    by_signature: dict[str, IkeKeying] = {}
    for name, tunnel in gateway.tunnels.items():
        if tunnel.ike is not None and tunnel.ike.ike_sa_of is None:
            try:
                at = f"tunnels.{name}.ike"
                if (ppk_file := tunnel.ike.ppk_file) is not None:
                    postquantum_keys[name] = _shared_key(
                        path, f"{at}.ppk-file", ppk_file, SHORTEST_PPK
                    )
                shared_keys[name] = _shared_keys(path, at, tunnel.ike)
                if None in {shared_keys[name].local, shared_keys[name].remote}:
                    by_signature[name] = tunnel.ike
            except ConfigError as error:
                problems += error.problems
    signature_files: Mapping[str, SignatureFiles] = {}
    if by_signature:
        from plutino.config.signature_files import (  # noqa: PLC0415 -- slow to load
            read_signature_files,
        )

        signature_files, others = read_signature_files(path, by_signature)
        problems += others
    problems += _spi_clashes(gateway, keys, str(path))
    if problems:
        raise ConfigError(problems)
    return LoadedGateway(gateway, path, keys, shared_keys, signature_files, postquantum_keys)


def _shared_keys(gateway_file: Path, at: str, ike: IkeKeying) -> SharedKeys:
    def read(key: str, file: str | None) -> Secret | None:
        if file is None:
            return None
        return _shared_key(gateway_file, f"{at}.{key}", file, SHORTEST_PSK)

    both = read("psk-file", ike.psk_file)
    return SharedKeys(
        both or read("local-psk-file", ike.local_psk_file),
        both or read("remote-psk-file", ike.remote_psk_file),
    )


def _shared_key(gateway_file: Path, at: str, file: str, shortest: int) -> Secret:
    """A pre-shared key: all bytes of the file but the line's end."""
    path = gateway_file.parent / file
    check_privacy(path, gateway_file, at, _MAKE_SHARED_KEY)
    key = read_text(path, gateway_file).rstrip("\r\n").encode()
    if len(key) < shortest:
        why = f"{path} is a key of {len(key)} bytes, at least {shortest} are needed"
        raise ConfigError.single(str(gateway_file), at, why, f"make one: `{_MAKE_SHARED_KEY}`")
    return Secret(key)


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
