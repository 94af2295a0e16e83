"""Reads what ``[tunnels.NAME.ike]`` names besides pre-shared keys; loaded only where it is."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from cryptography import x509

from plutino.config.credentials import (
    SignatureFiles,
    check_issuer,
    check_ocsp_response,
    parse_revocation_list,
    parse_signature_files,
)
from plutino.config.ike import IkeKeying
from plutino.config.reading import check_privacy, read_octets, read_text
from plutino.model.errors import ConfigError, Problem

_LARGEST_LIST: Final = 1 << 24
"""Bytes of a certificate revocation list; a hundred thousand entries take about 4 MB."""
_LARGEST_LISTS: Final = 1 << 25
"""Bytes of all lists together: they go to the IKE process in one message."""
_LARGEST_RESPONSE: Final = 1 << 14
"""Bytes of an OCSP response; with the responder's certificate it takes about 2 KB."""


def read_signature_files(
    gateway_file: Path, tunnels: Mapping[str, IkeKeying]
) -> tuple[Mapping[str, SignatureFiles], list[Problem]]:
    """What is right, by the name of the tunnel, and what is wrong."""
    revoked = _RevocationLists(gateway_file)
    found: dict[str, SignatureFiles] = {}
    problems: list[Problem] = []
    for name, ike in tunnels.items():
        try:
            files = _read_one(gateway_file, name, ike)
            revoked_here = revoked.of(name, ike, files)
            response = _read_ocsp_response(gateway_file, name, ike, files)
            found[name] = replace(files, revoked=revoked_here, ocsp_response=response)
        except ConfigError as error:
            problems += error.problems
    return found, problems


def _read_one(gateway_file: Path, name: str, ike: IkeKeying) -> SignatureFiles:
    """What is in the files is looked at by ``credentials``."""

    def named(file: str | None) -> tuple[str, str] | None:
        path = gateway_file.parent / (file or "")
        return None if file is None else (str(path), read_text(path, gateway_file))

    if ike.private_key is not None:
        path = gateway_file.parent / ike.private_key
        at = f"tunnels.{name}.ike.private-key"
        check_privacy(path, gateway_file, at, "openssl genpkey -algorithm ed25519")
    files = {
        "private-key": ike.private_key,
        "certificate": ike.certificate,
        "authorities": ike.authorities,
        "remote-public-key": ike.remote_public_key,
    }
    try:
        return parse_signature_files(*map(named, files.values()))
    except ConfigError as error:
        keys = {
            str(gateway_file.parent / file): f"tunnels.{name}.ike.{key}"
            for key, file in files.items()
            if file is not None
        }
        found = [_under_its_key(one, str(gateway_file), keys) for one in error.problems]
        raise ConfigError(found) from error


def _under_its_key(problem: Problem, gateway_file: str, keys: Mapping[str, str]) -> Problem:
    """What is wrong with a file is told with the key that names the file, where one does."""
    for file in (problem.file, problem.key):
        if file in keys:
            why = f"{file} {problem.why}"
            return Problem(gateway_file, None, keys[file], why, problem.hint)
    return problem


def _read_ocsp_response(
    gateway_file: Path, name: str, ike: IkeKeying, files: SignatureFiles
) -> bytes | None:
    if ike.ocsp_response_file is None:
        return None
    path = gateway_file.parent / ike.ocsp_response_file
    key = f"tunnels.{name}.ike.ocsp-response-file"
    octets = read_octets(path, gateway_file, key, largest=_LARGEST_RESPONSE)
    check_ocsp_response(str(path), octets, files.chain[0])
    return octets


class _RevocationLists:
    """Each file is read once, however many tunnels name it."""

    def __init__(self, gateway_file: Path) -> None:
        self._gateway_file = gateway_file
        self._read: dict[Path, x509.CertificateRevocationList] = {}
        self._checked: set[tuple[Path, str | None]] = set()
        self._size = 0

    def of(
        self, name: str, ike: IkeKeying, files: SignatureFiles
    ) -> tuple[x509.CertificateRevocationList, ...]:
        """The lists of a tunnel; ConfigError if one cannot be read or used."""
        found = []
        for place, file in enumerate(ike.crls):
            path = self._gateway_file.parent / file
            if path not in self._read:
                key = f"tunnels.{name}.ike.crls[{place}]"
                octets = read_octets(path, self._gateway_file, key, largest=_LARGEST_LIST)
                self._size += len(octets)
                if self._size > _LARGEST_LISTS:
                    why = f"takes the lists of this gateway beyond {_LARGEST_LISTS} bytes"
                    raise ConfigError.single(str(path), "", why)
                self._read[path] = parse_revocation_list(str(path), octets)
            if (path, ike.authorities) not in self._checked:
                check_issuer(str(path), self._read[path], files.authorities)
                self._checked.add((path, ike.authorities))
            found.append(self._read[path])
        return tuple(found)
