"""The files that `[tunnels.NAME.ike]` names: what is taken, and the words of each refusal."""

from base64 import b64encode
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp

from plutino.config.files import LoadedGateway, load_gateway
from plutino.config.ike import IkeKeying
from plutino.config.tunnel import Tunnel
from plutino.daemon.ike_peers import fingerprints_of, ocsp_policy, peers_of
from plutino.ike.auth.certificates import LocalCertificate, TrustedAuthorities
from plutino.ike.auth.credentials import LocalPresharedKey, RemotePresharedKey
from plutino.ike.auth.raw_keys import LocalRawKey, RemoteRawKey
from plutino.ike.auth.revocation import OcspPolicy, Revocation
from plutino.ike.config import PostquantumKey
from plutino.model.errors import ConfigError
from tests.support.pki import Certified, issue, respond, revoke

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
    assert loaded.signature_files["berlin"].revoked == (some, some)
    before = fingerprints_of(loaded)
    folder.write("a.crl", revoke(root()).public_bytes(Encoding.DER))
    others = folder.load(CERTIFICATES + 'crls = ["a.crl", "b.crl"]\ncrl-policy = "strict"')
    assert fingerprints_of(others) != before
    (peer,) = peers_of(others)
    assert isinstance(peer.remote_credential, TrustedAuthorities)
    assert peer.remote_credential.revocation == Revocation(
        others.signature_files["berlin"].revoked, strict=True
    )


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


def test_a_certificate_of_an_unknown_version_is_told(folder: Folder) -> None:
    octets = own().certificate.public_bytes(Encoding.DER)
    text = b64encode(octets.replace(b"\xa0\3\2\1\2", b"\xa0\3\2\1\x09"))
    begin, end = (f"-----{one} CERTIFICATE-----\n".encode() for one in ("BEGIN", "END"))
    folder.write("ca.pem", begin + text + b"\n" + end)
    assert "holds no certificates" in folder.why(CERTIFICATES)


def test_lists_need_authorities(folder: Folder) -> None:
    assert "needs `authorities`" in folder.why('psk-file = "psk"\ncrls = ["ca.crl"]')
    assert "needs `crls`" in folder.why(CERTIFICATES + 'crl-policy = "strict"')


def test_ocsp_is_off_unless_asked_for(folder: Folder) -> None:
    def policy(lines: str, url: str = "http://a/") -> OcspPolicy | None:
        (peer,) = peers_of(folder.load(lines))
        return ocsp_policy(peer, url)

    assert policy(CERTIFICATES) is None
    assert policy('psk-file = "psk"') is None
    assert policy(CERTIFICATES + 'ocsp-policy = "if-present"') == OcspPolicy()
    url = "http://192.0.2.9:2560"
    own = f'{CERTIFICATES}ocsp-policy = "strict"\nocsp-url = "{url}"'
    assert policy(own, url) == OcspPolicy(strict=True, url=url)
    assert policy(own) is None  # whoever asks for another


def test_an_option_that_a_later_version_has_ends_no_ike_sa(folder: Folder) -> None:
    class LaterKeying(IkeKeying):
        further: bool = False

    class LaterTunnel(Tunnel):
        further: str = "no"

    before = folder.load(CERTIFICATES)
    tunnel = before.gateway.tunnels["berlin"]
    assert tunnel.ike is not None
    ike = LaterKeying.model_validate(tunnel.ike.model_dump(exclude_unset=True, by_alias=True))
    given = {name: getattr(tunnel, name) for name in tunnel.model_fields_set} | {"ike": ike}
    for further, is_same in (("no", True), ("yes", False)):
        later = LaterTunnel.model_construct(**given, further=further)
        gateway = before.gateway.model_copy(update={"tunnels": {"berlin": later}})
        found = fingerprints_of(replace(before, gateway=gateway))
        assert (found == fingerprints_of(before)) is is_same


def test_a_response_about_our_certificate_is_read(folder: Folder) -> None:
    folder.write("own.ocsp", respond(own(), root()))
    lines = CERTIFICATES + 'ocsp-response-file = "own.ocsp"'
    before = folder.load(lines)
    (peer,) = peers_of(before)
    assert isinstance(peer.local_credential, LocalCertificate)
    assert peer.local_credential.ocsp_response == (folder.path / "own.ocsp").read_bytes()
    folder.write("own.ocsp", respond(own(), root(), begin=datetime(2026, 1, 1, tzinfo=UTC)))
    after = folder.load(lines)
    assert fingerprints_of(after) == fingerprints_of(before)  # nothing that is up begins anew
    assert list(peers_of(after)) == [peer]


def test_what_is_wrong_with_ocsp_is_told(folder: Folder) -> None:
    stapled = CERTIFICATES + 'ocsp-response-file = "own.ocsp"'
    assert "own.ocsp cannot be read" in folder.why(stapled)
    later = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER)
    for octets, words in (
        (b"\x30nonsense", "holds no OCSP response"),
        (bytes(1 << 14) + b"\0", "is larger than"),
        (later.public_bytes(Encoding.DER), "the responder says TRY_LATER"),
        (respond(root(), root()), "is not about our certificate, CN=own"),
    ):
        folder.write("own.ocsp", octets)
        assert words in folder.why(stapled)
    for lines, words in (
        ('psk-file = "psk"\nocsp-policy = "strict"', "needs `authorities`"),
        (CERTIFICATES + 'ocsp-url = "http://a/"', "needs `ocsp-policy`"),
        ('psk-file = "psk"\nocsp-response-file = "own.ocsp"', "needs `certificate`"),
        (CERTIFICATES + 'ocsp-policy = "maybe"', "ocsp-policy"),
    ):
        assert words in folder.why(lines)
    for url in ("https://a/", "http://a/b c", "http://", "http://u:p@a/", "a"):
        lines = f'ocsp-policy = "strict"\nocsp-url = "{url}"'
        assert "is no URL of a responder" in folder.why(CERTIFICATES + lines)


def test_a_public_key_is_enough_on_either_side(folder: Folder) -> None:
    berlin = issue("berlin", root())
    folder.write("berlin.pub", berlin.public_pem)
    by_key = 'private-key = "own.key"\nremote-public-key = "berlin.pub"\n'
    (peer,) = peers_of(loaded := folder.load(by_key))
    assert isinstance(peer.local_credential, LocalRawKey)
    assert isinstance(peer.remote_credential, RemoteRawKey)
    before = fingerprints_of(loaded)
    folder.write("berlin.pub", issue("rome").public_pem)
    assert fingerprints_of(folder.load(by_key)) != before
    (peer,) = peers_of(folder.load(by_key + 'certificate = "own.pem"'))
    assert isinstance(peer.local_credential, LocalCertificate)
    (peer,) = peers_of(folder.load('private-key = "own.key"\nauthorities = "ca.pem"'))
    assert isinstance(peer.local_credential, LocalRawKey)
    assert isinstance(peer.remote_credential, TrustedAuthorities)


def test_what_is_wrong_with_keys_is_told(folder: Folder) -> None:
    by_key = 'private-key = "own.key"\nremote-public-key = "berlin.pub"\n'
    assert "berlin.pub" in folder.why(by_key)
    weak = rsa.generate_private_key(65537, 1024).public_key()
    other = x25519.X25519PrivateKey.generate().public_key()
    form = Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    for octets, words in (
        (b"-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----\n", "holds no public key"),
        (own().pem, "holds no public key"),
        (own().public_pem, "is our own key"),
        (weak.public_bytes(*form), "has 1024 bits"),
        (other.public_bytes(*form), "a kind that IKE does not sign with"),
    ):
        folder.write("berlin.pub", octets)
        assert words in folder.why(by_key)
    for lines, words in (
        (by_key + 'authorities = "ca.pem"', "`authorities` already"),
        (by_key + 'crls = ["ca.crl"]', "needs `authorities`"),
    ):
        assert words in folder.why(lines)


def test_each_refusal_names_the_key_that_names_the_file(folder: Folder) -> None:
    for old, key in (
        ('"own.pem"', "certificate"),
        ('"own.key"', "private-key"),
        ('"ca.pem"', "authorities"),
    ):
        folder.write("junk", b"nothing of use\n")
        why = folder.why(CERTIFICATES.replace(old, '"junk"'))
        assert f"gateway.toml: tunnels.berlin.ike.{key}: {folder.path / 'junk'} holds no" in why
        why = folder.why(CERTIFICATES.replace(old, '"gone"'))
        assert f"gateway.toml: tunnels.berlin.ike.{key}: {folder.path / 'gone'} cannot" in why


def test_each_end_proves_itself_by_what_the_file_says(folder: Folder) -> None:
    """Its own key or the other one's, of whatever kind."""
    berlin = issue("berlin", root())
    folder.write("berlin.pub", berlin.public_pem)
    folder.write("other", b"another key of enough octets\n")
    known = {
        'private-key = "own.key"\n': LocalRawKey,
        'private-key = "own.key"\ncertificate = "own.pem"\n': LocalCertificate,
        'local-psk-file = "psk"\n': LocalPresharedKey,
    }
    the_peers = {
        'authorities = "ca.pem"\n': TrustedAuthorities,
        'remote-public-key = "berlin.pub"\n': RemoteRawKey,
        'remote-psk-file = "other"\n': RemotePresharedKey,
    }
    seen = set()
    for ours, here in known.items():
        for theirs, there in the_peers.items():
            (peer,) = peers_of(loaded := folder.load(ours + theirs))
            assert isinstance(peer.local_credential, here)
            assert isinstance(peer.remote_credential, there)
            seen.add(fingerprints_of(loaded)["berlin"])
            if isinstance(peer.local_credential, LocalPresharedKey):
                assert peer.local_credential.key.reveal() == b"a key of enough octets"
            if isinstance(peer.remote_credential, RemotePresharedKey):
                assert peer.remote_credential.key.reveal() == b"another key of enough octets"
    assert len(seen) == len(known) * len(the_peers)
    one = folder.load('local-psk-file = "psk"\nremote-psk-file = "other"')
    folder.write("other", b"a third key of enough octets\n")
    assert fingerprints_of(one) != fingerprints_of(
        folder.load('local-psk-file = "psk"\nremote-psk-file = "other"')
    )


@pytest.mark.parametrize(
    ("lines", "key", "words"),
    [
        ("", "ike", "needs `psk-file`, or what we prove ourselves by and what the peer does"),
        ('certificate = "own.pem"', "ike", "needs `psk-file`, or"),
        ('private-key = "own.key"', "ike", "does not say what the peer proves itself by"),
        ('authorities = "ca.pem"', "ike", "needs `local-psk-file` or `private-key`"),
        ('local-psk-file = "psk"', "ike", "`psk-file` alone"),
        ('psk-file = "psk"\nauthorities = "ca.pem"', "ike.authorities", "is `local-psk-file`"),
        ('psk-file = "psk"\nprivate-key = "own.key"', "ike.private-key", "is `remote-psk-file`"),
        ('psk-file = "psk"\nlocal-psk-file = "psk"', "ike.local-psk-file", "`remote-psk-file`"),
        (
            CERTIFICATES + 'remote-psk-file = "psk"',
            "ike.authorities",
            "the peer proves itself by `remote-psk-file` already",
        ),
        (
            CERTIFICATES + 'local-psk-file = "psk"',
            "ike.private-key",
            "we prove ourselves by `local-psk-file` already",
        ),
        (
            'local-psk-file = "psk"\nauthorities = "ca.pem"\ncertificate = "own.pem"',
            "ike.certificate",
            "needs `private-key`",
        ),
        (
            'remote-psk-file = "psk"\nprivate-key = "own.key"\ncrls = ["ca.crl"]',
            "ike.crls",
            "needs `authorities`",
        ),
    ],
)
def test_what_is_left_out_or_said_twice_of_a_proof(
    folder: Folder, lines: str, key: str, words: str
) -> None:
    why = folder.why(lines)
    assert f"tunnels.berlin.{key}" in why
    assert words in why


def test_a_shared_key_of_one_end_is_a_secret_too(folder: Folder) -> None:
    folder.write("psk", b"a key of enough octets\n", 0o644)
    why = folder.why('local-psk-file = "psk"\nauthorities = "ca.pem"')
    assert "tunnels.berlin.ike.local-psk-file" in why
    assert "others can open it" in why
    folder.write("psk", b"short\n")
    why = folder.why('private-key = "own.key"\nremote-psk-file = "psk"')
    assert "at least 16 are needed" in why
    assert "gateway.toml: tunnels.berlin.ike.remote-psk-file: " in why
    assert "short" not in why


PPK = 'psk-file = "psk"\nppk-file = "ppk"\nppk-id = "name"\n'


def test_a_post_quantum_key(folder: Folder) -> None:
    folder.write("ppk", b"0123456789abcdef0123456789abcdef\n")
    loaded = folder.load(PPK + "ppk-required = false")
    key = loaded.postquantum_keys["berlin"]
    assert key.reveal() == b"0123456789abcdef0123456789abcdef"
    assert "0123456789" not in repr(loaded)
    (peer,) = peers_of(loaded)
    assert peer.ppk == PostquantumKey(b"name", key, required=False)
    before = fingerprints_of(loaded)
    folder.write("ppk", b"another key of as many octets!!!\n")
    assert fingerprints_of(folder.load(PPK + "ppk-required = false")) != before
    assert peers_of_ppk_required(folder.load(PPK))


def peers_of_ppk_required(loaded: LoadedGateway) -> bool:
    (peer,) = peers_of(loaded)
    return peer.ppk is not None and peer.ppk.required


def test_what_is_wrong_with_a_post_quantum_key_is_told(folder: Folder) -> None:
    with pytest.raises(ConfigError) as refused:
        folder.load(PPK)
    (problem,) = refused.value.problems
    assert problem.key == "tunnels.berlin.ike.ppk-file"
    assert problem.hint is not None
    assert "openssl rand -base64 32" in problem.hint
    folder.write("ppk", b"0123456789abcdef0123456789abcdef\n", 0o640)
    why = folder.why(PPK)
    assert "tunnels.berlin.ike.ppk-file" in why
    assert "others can open it" in why
    folder.write("ppk", b"0123456789abcdef\n")
    why = folder.why(PPK)
    assert "is a key of 16 bytes, at least 32 are needed" in why
    assert "0123456789" not in why
    assert "ppk-id" in folder.why('psk-file = "psk"\nppk-file = "ppk"')
    assert "needs `ppk-file`" in folder.why('psk-file = "psk"\nppk-id = "name"')
    assert "needs `ppk-file`" in folder.why('psk-file = "psk"\nppk-required = true')
