"""Whether peers will believe our own certificates: they tell us no more than that they do not.

In words, for ``plan``, ``status`` and ``doctor``; the clock is handed in.
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Final

from cryptography import x509

from plutino.config.files import LoadedGateway
from plutino.ike.auth.certificates import bears
from plutino.ike.auth.identity import parse_identity
from plutino.model.x509_errors import MALFORMED

SOON: Final = timedelta(days=14)
"""A certificate that ends within this time is worth a word."""


def unbelievable_certificates(loaded: LoadedGateway, now: datetime) -> tuple[str, ...]:
    """Of which tunnels the peer cannot believe us, and why (RFC 4945, 5.1; RFC 5280, 6.1.3)."""
    told = []
    for name, key, file, chain in _chains(loaded):
        for one in chain:
            if now > one.not_valid_after_utc:
                ended = _day(one.not_valid_after_utc)
                told.append(f"{key}: {file} ({_subject(one)}) is out of date since {ended}")
            elif now < one.not_valid_before_utc:
                told.append(
                    f"{key}: {file} ({_subject(one)}) is not valid before "
                    f"{_day(one.not_valid_before_utc)}: is this machine's clock right?"
                )
        identity = _local_identity(loaded, name)
        if not _bears(chain[0], identity):
            told.append(
                f"{key}: {file} does not bear `local-id` '{identity}', so peers refuse it: it is "
                f"for {_names(chain[0])}"
            )
    return tuple(told)


def certificates_that_end_soon(loaded: LoadedGateway, now: datetime) -> tuple[str, ...]:
    """Those that want to be renewed, in words."""
    return tuple(
        f"{key}: {file} ends on {_day(one.not_valid_after_utc)}: renew it, then "
        "`systemctl reload` or SIGHUP has it read"
        for _, key, file, chain in _chains(loaded)
        for one in chain
        if now <= one.not_valid_after_utc <= now + SOON
    )


def current_time() -> datetime:
    """Now, as certificates count."""
    return datetime.now(UTC)


def _chains(
    loaded: LoadedGateway,
) -> list[tuple[str, str, Path, tuple[x509.Certificate, ...]]]:
    """Tunnel, key, file and certificates, for tunnels that have any."""
    found = []
    for name, files in loaded.signature_files.items():
        ike = loaded.gateway.tunnels[name].ike
        if files.chain and ike is not None and ike.certificate is not None:
            file = loaded.path.parent / ike.certificate
            found.append((name, f"tunnels.{name}.ike.certificate", file, files.chain))
    return found


def _local_identity(loaded: LoadedGateway, name: str) -> str:
    tunnel = loaded.gateway.tunnels[name]
    assert tunnel.ike is not None
    return tunnel.ike.local_id or str(tunnel.local)


@lru_cache(maxsize=1 << 14)
def _bears(certificate: x509.Certificate, identity: str) -> bool:
    """Extensions are read once, and not in each pass."""
    try:
        return bears(certificate, parse_identity(identity))
    except MALFORMED:
        return False


def _names(certificate: x509.Certificate) -> str:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = [str(getattr(one, "value", one)) for one in found.value]
    except (x509.ExtensionNotFound, *MALFORMED):
        names = []
    return ", ".join([*names, _subject(certificate)])


def _subject(certificate: x509.Certificate) -> str:
    """In words; of old authorities it may be in a character set that nobody reads any more."""
    try:
        return certificate.subject.rfc4514_string()
    except MALFORMED:
        return f"serial number {certificate.serial_number:#x}"


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
