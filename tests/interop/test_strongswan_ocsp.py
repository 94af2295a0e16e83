"""OCSP with strongSwan: by HTTP, and with strongSwan 6, which knows RFC 4806, along with IKE_AUTH.

``python -m plutino.lab.peers.packages strongswan-6`` brings it; without it that is not collected.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography.x509.ocsp import OCSPCertStatus

from plutino.lab.peers.packages import STRONGSWAN, STRONGSWAN_6, find_peer
from plutino.model.errors import PlaneError
from tests.support.exhaustive import EXHAUSTIVE
from tests.support.ike_lab import passes
from tests.support.ocsp_responder import PORT, responder
from tests.support.pki import answered_at, issue, respond
from tests.support.strongswan_lab import PLANE, by_public_keys, mixed_pair
from tests.support.until import until

GOOD, REVOKED = OCSPCertStatus.GOOD, OCSPCertStatus.REVOKED


class Pki:
    """Each certificate names a responder that is at strongSwan's address."""

    def __init__(self) -> None:
        self.root = issue("root", authority=True)
        named = (answered_at(f"http://192.0.2.2:{PORT}/"),)
        self.paris = issue("paris", self.root, dns="paris.example", extensions=named)
        self.berlin = issue("berlin", self.root, dns="berlin.example", extensions=named)

    def files(self) -> Mapping[str, bytes]:
        """Of both ends."""
        return {
            "paris/own.pem": self.paris.pem,
            "paris/own.key": self.paris.key_pem,
            "paris/ca.pem": self.root.pem,
            "swan/x509/berlin.pem": self.berlin.pem,
            "swan/x509ca/root.pem": self.root.pem,
            "swan/private/berlin.key": self.berlin.key_pem,
        }


def lines(start: str, *others: str) -> str:
    """Of Paris's IKE table."""
    return "\n".join(
        (
            'local-id = "paris.example"\nremote-id = "berlin.example"',
            'certificate = "own.pem"\nprivate-key = "own.key"\nauthorities = "ca.pem"',
            f'start = "{start}"',
            *others,
        )
    )


@pytest.mark.parametrize("start", ["now", "listen"] if EXHAUSTIVE else ["listen"])
def test_the_responder_is_asked_about_a_peer_that_knows_nothing_of_it(
    start: str, tmp_path: Path
) -> None:
    """strongSwan 5.9.8 brings nothing along, and does not mind to be asked for it."""
    pki = Pki()
    conf = by_public_keys("certs = berlin.pem", "")
    own = lines(start, 'ocsp-policy = "strict"')
    with (
        mixed_pair(STRONGSWAN, PLANE, conf, paris=own, files=pki.files()) as lab,
        responder(lab.berlin.namespace, tmp_path, pki.root, berlin=(pki.berlin, "V")),
    ):
        until(lambda: lab.paris.status() is not None, "plutino listens")
        if start == "listen":
            lab.swanctl("--initiate", "--child", "net")
        until(lambda: passes(lab.paris), "packets pass")


if find_peer(STRONGSWAN_6) is not None:
    FURTHER = [("now", GOOD), ("listen", REVOKED)] if EXHAUSTIVE else []

    @pytest.mark.parametrize(("start", "status"), [("listen", GOOD), ("now", REVOKED), *FURTHER])
    def test_we_bring_a_response_along(start: str, status: OCSPCertStatus) -> None:
        pki = Pki()
        conf = by_public_keys("certs = berlin.pem", "revocation = strict", "ocsp = request")
        own = lines(start, 'ocsp-response-file = "own.ocsp"')
        files = {**pki.files(), "paris/own.ocsp": respond(pki.paris, pki.root, status)}
        with mixed_pair(STRONGSWAN_6, PLANE, conf, paris=own, files=files) as lab:
            until(lambda: lab.paris.status() is not None, "plutino listens")
            if start == "listen":
                with suppress(PlaneError):  # it fails where we are revoked
                    lab.swanctl("--initiate", "--child", "net")
            until(lambda: "received OCSP response" in lab.strongswan.log(), "a response came")
            if status is GOOD:
                until(lambda: passes(lab.paris), "packets pass")
            else:
                until(lambda: "certificate was revoked" in lab.strongswan.log(), "it is read")
                until(lambda: "AUTHENTICATION_FAILED" in lab.paris.last_words(), "told")
                assert not passes(lab.paris)

    @pytest.mark.parametrize("start", ["now", "listen"] if EXHAUSTIVE else ["now"])
    def test_strongswan_brings_its_response_along(start: str, tmp_path: Path) -> None:
        """It has it of the responder; we ask none."""
        pki = Pki()
        conf = by_public_keys("certs = berlin.pem", "", "ocsp = reply")
        own = lines(start, 'ocsp-policy = "strict"', 'ocsp-url = "http://192.0.2.99/"')
        with (
            mixed_pair(STRONGSWAN_6, PLANE, conf, paris=own, files=pki.files()) as lab,
            responder(lab.berlin.namespace, tmp_path, pki.root, berlin=(pki.berlin, "V")),
        ):
            until(lambda: lab.paris.status() is not None, "plutino listens")
            if start == "listen":
                lab.swanctl("--initiate", "--child", "net")
            until(lambda: passes(lab.paris), "packets pass")
            assert 'sending OCSP status for certificate "CN=berlin"' in lab.strongswan.log()
            assert "192.0.2.99" not in lab.paris.last_words()
