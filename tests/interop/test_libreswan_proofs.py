"""How each proves to libreswan who it is, and the reverse: mixed, raw keys, lists, OCSP, PPKs."""

import signal
from base64 import b64encode

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from plutino.lab.demo import BERLIN, OUTER
from plutino.lab.peers.packages import Peer
from plutino.model.errors import PlaneError
from tests.support.exhaustive import EXHAUSTIVE
from tests.support.libreswan_lab import BY_NAME, NAMES, Mixed, connection, mixed_pair, p12
from tests.support.ocsp_responder import PORT, responder
from tests.support.pki import Certified, answered_at, issue, revoke
from tests.support.until import until

STARTS = ["now", "listen"]
IDS = "leftid=@berlin.example\nrightid=@paris.example\n"
BY_CERTIFICATE = 'certificate = "own.pem"\nprivate-key = "own.key"\n'
PPK = "correct battery of a horse that nobody staples"


def begin(lab: Mixed, start: str) -> None:
    """Whoever does."""
    if start == "listen":
        lab.whack("--name", "paris", "--initiate")


MIXED = [(kind, start) for kind in ("shared key", "certificate", "public key") for start in STARTS]
if not EXHAUSTIVE:
    MIXED = [("shared key", "listen"), ("certificate", "now"), ("public key", "listen")]


@pytest.mark.parametrize(("ours", "start"), MIXED)
def test_one_end_has_a_shared_key_and_the_other_does_not(
    libreswan: Peer, ours: str, start: str
) -> None:
    """RFC 7296, 2.15 and 4; libreswan's `leftauth` and `rightauth`."""
    root = issue("root", authority=True)
    paris = issue("paris", root, dns="paris.example")
    berlin = issue("berlin", root, kind="rsa", dns="berlin.example")
    files = {
        "paris/own.pem": paris.pem,
        "paris/own.key": paris.key_pem,
        "paris/ca.pem": root.pem,
        "lsw/authorities/root.pem": root.pem,
        "lsw/certificates/berlin.p12": p12("berlin", berlin, root),
    }
    proofs, auth = {
        "shared key": (
            'local-psk-file = "berlin.psk"\nauthorities = "ca.pem"',
            "leftauth=rsasig\nrightauth=secret\nleftcert=berlin\nleftsendcert=always",
        ),
        "certificate": (
            f'{BY_CERTIFICATE}remote-psk-file = "berlin.psk"',
            "leftauth=secret\nrightauth=ecdsa\nrightca=%any",
        ),
        "public key": (
            'private-key = "own.key"\nremote-psk-file = "berlin.psk"',
            f"leftauth=secret\nrightauth=ecdsa\nrightpubkey={spki(paris)}",
        ),
    }[ours]
    own = f'{NAMES}start = "{start}"\n{proofs}'
    with mixed_pair(libreswan, connection(auth=IDS + auth), paris=own, files=files) as lab:
        begin(lab, start)
        lab.until_it_passes()


def spki(one: Certified) -> str:
    """A public key as ``leftpubkey`` takes it."""
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    return b64encode(one.key.public_key().public_bytes(*form)).decode()


KEYS = [(a, b, start) for a in ("rsa", "ecdsa") for b in ("rsa", "ecdsa") for start in STARTS]
if not EXHAUSTIVE:
    KEYS = [("ecdsa", "rsa", "now"), ("rsa", "ecdsa", "listen")]


@pytest.mark.parametrize(("ours", "theirs", "start"), KEYS)
def test_public_keys_are_enough(libreswan: Peer, ours: str, theirs: str, start: str) -> None:
    """RFC 7670; libreswan has its own in its database, by what ``leftpubkey`` says."""
    paris, berlin = issue("paris", kind=ours), issue("berlin", kind=theirs)
    files = {
        "paris/own.key": paris.key_pem,
        "paris/berlin.pub": berlin.public_pem,
        "lsw/certificates/berlin.p12": p12("hostkey", berlin),
    }
    auth = {"rsa": "rsasig", "ecdsa": "ecdsa"}
    lines = (
        f"{IDS}leftauth={auth[theirs]}\nrightauth={auth[ours]}\n"
        f"leftpubkey={spki(berlin)}\nrightpubkey={spki(paris)}"
    )
    own = f'{NAMES}start = "{start}"\nprivate-key = "own.key"\nremote-public-key = "berlin.pub"'
    with mixed_pair(libreswan, connection(auth=lines), paris=own, files=files) as lab:
        begin(lab, start)
        lab.until_it_passes()


class Pki:
    """Both by certificates of one authority; what is at the two ends of it."""

    auth = f"{IDS}leftauth=rsasig\nrightauth=ecdsa\nleftcert=berlin\nleftsendcert=always"
    own = f'{NAMES}{BY_CERTIFICATE}authorities = "ca.pem"\n'

    def __init__(self) -> None:
        self.root = issue("root", authority=True)
        named = (answered_at(f"http://{OUTER[4][BERLIN]}:{PORT}/"),)
        self.paris = issue("paris", self.root, dns="paris.example", extensions=named)
        self.berlin = issue("berlin", self.root, kind="rsa", dns="berlin.example")
        self.files = {
            "paris/own.pem": self.paris.pem,
            "paris/own.key": self.paris.key_pem,
            "paris/ca.pem": self.root.pem,
            "lsw/authorities/root.pem": self.root.pem,
            "lsw/certificates/berlin.p12": p12("berlin", self.berlin, self.root),
        }


def test_libreswan_is_revoked_and_cut_off_by_a_reload(libreswan: Peer) -> None:
    pki = Pki()
    own = f'{pki.own}crls = ["ca.crl"]\ncrl-policy = "strict"'
    files = pki.files | {"paris/ca.crl": revoke(pki.root).public_bytes(Encoding.DER)}
    with mixed_pair(libreswan, connection(auth=pki.auth), paris=own, files=files) as lab:
        lab.until_it_passes()
        revoked = revoke(pki.root, pki.berlin).public_bytes(Encoding.PEM)
        (lab.paris.file.parent / "ca.crl").write_bytes(revoked)
        assert lab.paris.daemon is not None
        lab.paris.daemon.send_signal(signal.SIGHUP)
        until(lambda: "the certificate of CN=berlin is revoked" in lab.paris.last_words(), "told")
        until(lambda: not lab.libreswan.states(), "the peer lets go")
        assert not lab.passes()
        assert "revoked" not in lab.libreswan.log()


@pytest.mark.parametrize("is_revoked", [False, True])
def test_libreswan_has_a_list_about_us(libreswan: Peer, *, is_revoked: bool) -> None:
    pki = Pki()
    some = revoke(pki.root, *([pki.paris] if is_revoked else []))
    files = pki.files | {"lsw/crls/ca.crl": some.public_bytes(Encoding.DER)}
    theirs = connection(auth=pki.auth)
    with mixed_pair(libreswan, theirs, paris=pki.own, files=files, setup="crl-strict=yes") as lab:
        assert_let_in(lab, revoked=is_revoked)


@pytest.mark.parametrize("is_revoked", [False, True])
def test_libreswan_asks_a_responder_about_us(libreswan: Peer, *, is_revoked: bool) -> None:
    pki = Pki()
    setup = "ocsp-enable=yes\nocsp-strict=yes\nocsp-timeout=5"
    theirs = connection(auth=pki.auth)
    with mixed_pair(
        libreswan, theirs, paris=f'{pki.own}start = "listen"', files=pki.files, setup=setup
    ) as lab:
        place = lab.berlin.folder / "responder"
        state = "R" if is_revoked else "V"
        with responder(lab.berlin.namespace, place, pki.root, paris=(pki.paris, state)):
            if is_revoked:
                with pytest.raises(PlaneError):
                    lab.whack("--name", "paris", "--initiate")
            else:
                lab.whack("--name", "paris", "--initiate")
            assert_let_in(lab, revoked=is_revoked)


def assert_let_in(lab: Mixed, *, revoked: bool) -> None:
    """Or refused, and told no more than that."""
    if not revoked:
        lab.until_it_passes()
        return
    until(lambda: "revoked" in lab.libreswan.log(), "libreswan says why")
    assert not lab.passes()
    assert "revoked" not in lab.paris.last_words()


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("required", ["true", "false"] if EXHAUSTIVE else ["true"])
def test_both_have_a_post_quantum_key(libreswan: Peer, required: str, start: str) -> None:
    """RFC 8784."""
    own = (
        f'{NAMES}start = "{start}"\nppk-file = "ppk"\nppk-id = "quantum"\nppk-required = {required}'
    )
    with mixed_pair(
        libreswan,
        connection(auth=BY_NAME, lines="pfs=no\nppk=insist"),
        paris=own,
        files={"paris/ppk": f"{PPK}\n".encode()},
        secrets=f'@berlin.example @paris.example : PPKS "quantum" "{PPK}"\n',
    ) as lab:
        begin(lab, start)
        lab.until_it_passes()
        assert "PPK" in lab.libreswan.log()
        children, ikes = lab.children(), lab.ike_sas()
        lab.rekey_child()
        until(lambda: lab.child_renewed(children), "a new CHILD_SA")
        lab.rekey_ike()
        until(lambda: lab.ike_renewed(ikes), "a new IKE SA")
        lab.until_it_passes()


@pytest.mark.parametrize("ours", [True, False])
def test_a_post_quantum_key_of_one_end_is_done_without_or_not(
    libreswan: Peer, *, ours: bool
) -> None:
    """As either end wants it."""
    own = f"{NAMES}"
    if ours:
        own += 'ppk-file = "ppk"\nppk-id = "quantum"\nppk-required = false'
    secrets = "" if ours else f'@berlin.example @paris.example : PPKS "quantum" "{PPK}"\n'
    with mixed_pair(
        libreswan,
        connection(auth=BY_NAME, lines=f"pfs=no\nppk={'no' if ours else 'propose'}"),
        paris=own,
        files={"paris/ppk": f"{PPK}\n".encode()},
        secrets=secrets,
    ) as lab:
        lab.until_it_passes()


def test_the_first_child_comes_after_the_ike_sa(libreswan: Peer) -> None:
    """RFC 6023, with a key exchange of its own; libreswan itself never begins so."""
    own = 'childless = true\nesp-proposals = ["aes256gcm16-x25519-esn-noesn"]'
    theirs = connection(lines="pfs=yes\nesp=aes_gcm256\nike=aes_gcm256-sha2_384-dh31")
    with mixed_pair(libreswan, theirs, paris=own) as lab:
        lab.until_it_passes()
        assert "creating childless SA" in lab.libreswan.log()
