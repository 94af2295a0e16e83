"""Own certificates that no peer will believe are told before a peer refuses them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from plutino.config.files import LoadedGateway, load_gateway
from plutino.daemon.certificate_findings import (
    certificates_that_end_soon,
    unbelievable_certificates,
)
from tests.support.pki import Certified, issue

NOW = datetime(2026, 6, 1, tzinfo=UTC)
KEY = "tunnels.berlin.ike.certificate: "


@pytest.fixture(scope="module")
def root() -> Certified:
    return issue("root", authority=True)


def loaded(folder: Path, root: Certified, own: Certified, identity: str) -> LoadedGateway:
    (folder / "own.pem").write_bytes(own.pem)
    (folder / "ca.pem").write_bytes(root.pem)
    (folder / "own.key").touch(mode=0o600)
    (folder / "own.key").write_bytes(own.key_pem)
    file = folder / "paris.toml"
    file.write_text(
        '[tunnels.berlin]\ninterface = "ipsec1"\nlocal = "192.0.2.1"\nremote = "198.51.100.2"\n'
        f'[tunnels.berlin.ike]\n{identity}\ncertificate = "own.pem"\nprivate-key = "own.key"\n'
        'authorities = "ca.pem"\n'
    )
    return load_gateway(file)


@pytest.mark.parametrize(
    "identity",
    ['local-id = "paris.example"', 'local-id = "CN=paris"', ""],
    ids=["an alternative name", "the subject", "the address"],
)
def test_one_that_bears_our_identity_is_no_finding(
    tmp_path: Path, root: Certified, identity: str
) -> None:
    own = issue("paris", root, dns="paris.example", address="192.0.2.1")
    gateway = loaded(tmp_path, root, own, identity)
    assert unbelievable_certificates(gateway, NOW) == ()
    assert certificates_that_end_soon(gateway, NOW) == ()


def test_one_for_somebody_else_is_told_with_its_names(tmp_path: Path, root: Certified) -> None:
    own = issue("paris", root, dns="paris.example")
    (words,) = unbelievable_certificates(loaded(tmp_path, root, own, ""), NOW)
    assert words.startswith(KEY)
    assert "does not bear `local-id` '192.0.2.1'" in words
    assert words.endswith("it is for paris.example, CN=paris")


def test_a_subject_in_an_old_character_set_is_no_obstacle(tmp_path: Path, root: Certified) -> None:
    """TeletexString (RFC 5280, appendix A.1) as old authorities have it, which is no UTF-8."""
    own = issue("paris", root, address="192.0.2.1")
    plain, old = b"\x0c\x08oldtimer", b"\x14\x08\xe9ldtimer"
    der = issue("oldtimer", authority=True).certificate.public_bytes(Encoding.DER)
    odd = x509.load_der_x509_certificate(der.replace(plain, old))
    gateway = loaded(tmp_path, root, own, "")
    (tmp_path / "own.pem").write_bytes(own.pem + odd.public_bytes(Encoding.PEM))
    gateway = load_gateway(gateway.path)
    assert unbelievable_certificates(gateway, NOW) == ()
    (early, also) = unbelievable_certificates(gateway, datetime(2024, 12, 31, tzinfo=UTC))
    assert "(CN=paris) is not valid before" in early
    assert f"(serial number {odd.serial_number:#x}) is not valid before" in also


def test_dates_are_told_by_the_clock_at_hand(tmp_path: Path, root: Certified) -> None:
    end = NOW + timedelta(days=10)
    own = issue("paris", root, address="192.0.2.1", end=end)
    gateway = loaded(tmp_path, root, own, "")
    assert unbelievable_certificates(gateway, NOW) == ()
    (soon,) = certificates_that_end_soon(gateway, NOW)
    assert "ends on 2026-06-11" in soon
    (late,) = unbelievable_certificates(gateway, end + timedelta(seconds=1))
    assert late.startswith(KEY)
    assert "is out of date since 2026-06-11 00:00 UTC" in late
    assert certificates_that_end_soon(gateway, end + timedelta(seconds=1)) == ()
    (early,) = unbelievable_certificates(gateway, datetime(2024, 12, 31, tzinfo=UTC))
    assert "not valid before 2025-01-01 00:00 UTC: is this machine's clock right?" in early
