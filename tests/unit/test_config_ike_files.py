"""The files that `[tunnels.NAME.ike]` names: what is taken, and the words of each refusal."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from plutino.config.files import LoadedGateway, load_gateway
from plutino.model.errors import ConfigError
from tests.support.pki import Certified, issue, revoke

TUNNEL = """\
[tunnels.berlin]
interface = "ipsec1"
local = "192.0.2.1"
remote = "198.51.100.2"
[tunnels.berlin.ike]
"""
CERTIFICATES = 'certificate = "own.pem"\nprivate-key = "own.key"\nauthorities = "ca.pem"\n'


@cache
def root() -> Certified:
    return issue("root", authority=True)


@cache
def own() -> Certified:
    return issue("own", root(), dns="own.example")


@dataclass(frozen=True)
class Folder:
    """A gateway file among the files that it names."""

    path: Path

    def load(self, keying: str) -> LoadedGateway:
        """With these lines in the IKE table."""
        file = self.path / "gateway.toml"
        file.write_text(TUNNEL + keying)
        return load_gateway(file)

    def why(self, keying: str) -> str:
        """The whole text of the refusal."""
        with pytest.raises(ConfigError) as refused:
            self.load(keying)
        return str(refused.value)

    def write(self, name: str, octets: bytes, mode: int = 0o600) -> None:
        """One more file."""
        (self.path / name).write_bytes(octets)
        (self.path / name).chmod(mode)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path)
    made.write("own.pem", own().pem)
    made.write("own.key", own().key_pem)
    made.write("ca.pem", root().pem)
    made.write("psk", b"a key of enough octets\n")
    return made


def test_lists_are_pem_or_der(folder: Folder) -> None:
    some = revoke(root(), own())
    folder.write("a.crl", b"with words before\n" + some.public_bytes(Encoding.PEM))
    folder.write("b.crl", some.public_bytes(Encoding.DER))
    loaded = folder.load(CERTIFICATES + 'crls = ["a.crl", "b.crl"]\ncrl-policy = "strict"')
    assert loaded.certificates["berlin"].revoked == (some, some)


def test_what_is_wrong_with_a_list_is_told(folder: Folder) -> None:
    with_list = CERTIFICATES + 'crls = ["ca.crl"]'
    why = folder.why(with_list)
    assert "tunnels.berlin.ike.crls[0]" in why
    assert "ca.crl cannot be read" in why
    stranger = issue("root", authority=True)
    one = revoke(root()).public_bytes(Encoding.PEM)
    delta = ((x509.DeltaCRLIndicator(1), True),)
    unknown = ((x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0"), True),)
    for octets, words in (
        (b"\x30nonsense", "holds no certificate revocation list"),
        (one + one, "holds 2 certificate revocation lists"),
        (one[:200], "holds no certificate revocation list"),
        (revoke(root(), extensions=delta).public_bytes(Encoding.DER), "is a delta list"),
        (revoke(root(), extensions=unknown).public_bytes(Encoding.DER), "1.2.3.4"),
        (revoke(stranger).public_bytes(Encoding.DER), "is not signed by the authority"),
    ):
        folder.write("ca.crl", octets)
        assert words in folder.why(with_list)


def test_lists_need_authorities(folder: Folder) -> None:
    assert "needs `authorities`" in folder.why('psk-file = "psk"\ncrls = ["ca.crl"]')
    assert "needs `crls`" in folder.why(CERTIFICATES + 'crl-policy = "strict"')
