"""How each proves to strongSwan who it is, and the reverse: lists, raw keys, post-quantum keys."""

import re
import signal
from contextlib import AbstractContextManager

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from plutino.lab.peers.packages import Peer
from tests.support.exhaustive import EXHAUSTIVE
from tests.support.ike_lab import passes
from tests.support.pki import issue, revoke
from tests.support.strongswan_lab import PLANE, TS, Mixed, by_public_keys, mixed_pair, swanctl_conf
from tests.support.until import until

NAMES = 'local-id = "paris.example"\nremote-id = "berlin.example"\n'


def test_a_peer_that_is_revoked_is_cut_off_by_a_reload(strongswan: Peer) -> None:
    """With `strict`; strongSwan is told no more than that it failed."""
    root = issue("root", authority=True)
    paris = issue("paris", root, dns="paris.example")
    berlin = issue("berlin", root, dns="berlin.example")
    files = {
        "paris/own.pem": paris.pem,
        "paris/own.key": paris.key_pem,
        "paris/ca.pem": root.pem,
        "paris/ca.crl": revoke(root).public_bytes(Encoding.DER),
        "swan/x509/berlin.pem": berlin.pem,
        "swan/x509ca/root.pem": root.pem,
        "swan/private/berlin.key": berlin.key_pem,
    }
    own = (
        f'{NAMES}certificate = "own.pem"\nprivate-key = "own.key"\nauthorities = "ca.pem"\n'
        'crls = ["ca.crl"]\ncrl-policy = "strict"'
    )
    with mixed_pair(
        strongswan, PLANE, by_public_keys("certs = berlin.pem", ""), paris=own, files=files
    ) as lab:
        lab.until_it_passes()
        revoked = revoke(root, berlin).public_bytes(Encoding.PEM)
        (lab.paris.file.parent / "ca.crl").write_bytes(revoked)
        assert lab.paris.daemon is not None
        lab.paris.daemon.send_signal(signal.SIGHUP)
        until(lambda: "the certificate of CN=berlin is revoked" in lab.paris.last_words(), "told")
        until(lambda: "AUTH_FAILED" in lab.strongswan.log(), "the peer hears of it")
        assert not passes(lab.paris)
        assert "revoked" not in lab.strongswan.log()


PPK = "correct battery of a horse that nobody staples"


def by_postquantum_key(strongswan: Peer, own: str, theirs: str) -> AbstractContextManager[Mixed]:
    """Both with a key of their own, and these further lines."""
    conf = swanctl_conf(4, ts=TS, connection=f"ppk_id = quantum\n  {theirs}")
    conf += f'secrets {{ ppk-paris {{ secret = "{PPK}"\n id = quantum }} }}\n'
    lines = f'ppk-file = "ppk"\nppk-id = "quantum"\n{own}'
    return mixed_pair(
        strongswan, PLANE, conf, paris=lines, files={"paris/ppk": f"{PPK}\n".encode()}
    )


def test_the_first_child_comes_after_the_ike_sa(strongswan: Peer) -> None:
    """RFC 6023, with a key exchange of its own."""
    esp = "aes256gcm16-x25519"
    own = f'childless = true\nesp-proposals = ["{esp}"]'
    with mixed_pair(strongswan, PLANE, swanctl_conf(4, ts=TS, esp=esp), paris=own) as lab:
        lab.until_it_passes()
        assert "parsed CREATE_CHILD_SA request 2 [ SA No KE TSi TSr ]" in lab.strongswan.log()


@pytest.mark.parametrize("start", ["now", "listen"] if EXHAUSTIVE else ["listen"])
def test_both_have_a_post_quantum_key(strongswan: Peer, start: str) -> None:
    with by_postquantum_key(strongswan, f'start = "{start}"', "ppk_required = yes") as lab:
        if start == "listen":
            lab.swanctl("--initiate", "--child", "net")
        lab.until_it_passes()
        assert re.search("PPK (for|with|auth)|using PPK", lab.strongswan.log())


@pytest.mark.parametrize(
    ("ours", "theirs", "start"), [("ed25519", "rsa", "now"), ("ecdsa", "ed25519", "listen")]
)
def test_public_keys_are_enough(strongswan: Peer, ours: str, theirs: str, start: str) -> None:
    paris, berlin = issue("paris", kind=ours), issue("berlin", kind=theirs)
    files = {
        "paris/own.key": paris.key_pem,
        "paris/berlin.pub": berlin.public_pem,
        "swan/pubkey/berlin.pub": berlin.public_pem,
        "swan/pubkey/paris.pub": paris.public_pem,
        "swan/private/berlin.key": berlin.key_pem,
    }
    own = f'{NAMES}start = "{start}"\nprivate-key = "own.key"\nremote-public-key = "berlin.pub"'
    conf = by_public_keys("pubkeys = berlin.pub", "pubkeys = paris.pub")
    with mixed_pair(strongswan, PLANE, conf, paris=own, files=files) as lab:
        if start == "listen":
            lab.swanctl("--initiate", "--child", "net")
        lab.until_it_passes()
        assert "authentication of 'paris.example' with" in lab.strongswan.log()


@pytest.mark.parametrize("start", ["now", "listen"] if EXHAUSTIVE else ["now"])
def test_both_are_known_by_the_identifiers_of_their_keys(strongswan: Peer, start: str) -> None:
    """RFC 7296, 4: certificates with ID_KEY_ID."""
    root = issue("root", authority=True)
    paris, berlin = issue("paris", root), issue("berlin", root, kind="rsa")
    ids = [
        f"@#{x509.SubjectKeyIdentifier.from_public_key(one.key.public_key()).digest.hex()}"
        for one in (paris, berlin)
    ]
    files = {
        "paris/own.pem": paris.pem,
        "paris/own.key": paris.key_pem,
        "paris/ca.pem": root.pem,
        "swan/x509/berlin.pem": berlin.pem,
        "swan/x509ca/root.pem": root.pem,
        "swan/private/berlin.key": berlin.key_pem,
    }
    conf = by_public_keys("certs = berlin.pem", "")
    for name, key_id in zip(("paris.example", "berlin.example"), ids, strict=True):
        conf = conf.replace(f"id = {name}", f'id = "{key_id}"')
    own = (
        f'start = "{start}"\nlocal-id = "{ids[0]}"\nremote-id = "{ids[1]}"\n'
        'certificate = "own.pem"\nprivate-key = "own.key"\nauthorities = "ca.pem"\n'
    )
    with mixed_pair(strongswan, PLANE, conf, paris=own, files=files) as lab:
        if start == "listen":
            lab.swanctl("--initiate", "--child", "net")
        lab.until_it_passes()


@pytest.mark.parametrize("start", ["now", "listen"] if EXHAUSTIVE else ["listen"])
def test_an_authority_with_an_edwards_key(strongswan: Peer, start: str) -> None:
    """As strongSwan's own guide makes it, with another authority below (RFC 8410)."""
    root = issue("root", authority=True, kind="ed25519")
    below = issue("below", root, authority=True, kind="ed25519")
    paris = issue("paris", below, dns="paris.example", kind="ed25519")
    berlin = issue("berlin", below, dns="berlin.example", kind="ed25519")
    files = {
        "paris/own.pem": paris.pem + below.pem,
        "paris/own.key": paris.key_pem,
        "paris/ca.pem": root.pem,
        "paris/ca.crl": revoke(root).public_bytes(Encoding.DER),
        "paris/below.crl": revoke(below).public_bytes(Encoding.DER),
        "swan/x509/berlin.pem": berlin.pem,
        "swan/x509ca/root.pem": root.pem,
        "swan/x509ca/below.pem": below.pem,
        "swan/private/berlin.key": berlin.key_pem,
    }
    own = (
        f'{NAMES}start = "{start}"\ncertificate = "own.pem"\nprivate-key = "own.key"\n'
        'authorities = "ca.pem"\ncrls = ["ca.crl", "below.crl"]\ncrl-policy = "strict"\n'
    )
    conf = by_public_keys("certs = berlin.pem", "")
    with mixed_pair(strongswan, PLANE, conf, paris=own, files=files) as lab:
        if start == "listen":
            lab.swanctl("--initiate", "--child", "net")
        lab.until_it_passes()


MIXED = [  # what Paris proves itself by, and who begins
    (kind, start)
    for kind in ("shared key", "certificate", "public key")
    for start in ("now", "listen")
]
if not EXHAUSTIVE:
    MIXED = [("shared key", "listen"), ("certificate", "now"), ("public key", "listen")]


@pytest.mark.parametrize(("ours", "start"), MIXED)
def test_one_end_has_a_shared_key_and_the_other_does_not(
    strongswan: Peer, ours: str, start: str
) -> None:
    """RFC 7296, 2.15 and 4; strongSwan's `auth` is `psk` for one end and `pubkey` for the other."""
    root = issue("root", authority=True)
    paris = issue("paris", root, dns="paris.example")
    berlin = issue("berlin", root, dns="berlin.example", kind="rsa")
    files = {
        "paris/own.pem": paris.pem,
        "paris/own.key": paris.key_pem,
        "paris/ca.pem": root.pem,
        "swan/x509/berlin.pem": berlin.pem,
        "swan/x509ca/root.pem": root.pem,
        "swan/private/berlin.key": berlin.key_pem,
        "swan/pubkey/paris.pub": paris.public_pem,
    }
    proofs, conf = {
        "shared key": (
            'local-psk-file = "berlin.psk"\nauthorities = "ca.pem"',
            by_public_keys("certs = berlin.pem", None),
        ),
        "certificate": (
            'certificate = "own.pem"\nprivate-key = "own.key"\nremote-psk-file = "berlin.psk"',
            by_public_keys(None, ""),
        ),
        "public key": (
            'private-key = "own.key"\nremote-psk-file = "berlin.psk"',
            by_public_keys(None, "pubkeys = paris.pub"),
        ),
    }[ours]
    own = f'{NAMES}start = "{start}"\n{proofs}'
    with mixed_pair(strongswan, PLANE, conf, paris=own, files=files) as lab:
        if start == "listen":
            lab.swanctl("--initiate", "--child", "net")
        lab.until_it_passes()
        said = lab.strongswan.log()
        kind = "pre-shared key" if ours == "shared key" else "ECDSA"
        assert re.search(f"authentication of 'paris.example' with {kind}.* successful", said)
        kind = "RSA" if ours == "shared key" else "pre-shared key"
        assert re.search(f"authentication of 'berlin.example' \\(myself\\) with {kind}", said)
