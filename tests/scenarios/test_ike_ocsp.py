"""Paris asks about Berlin's certificate: a responder by HTTP, or Berlin itself."""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from cryptography.x509.ocsp import OCSPCertStatus

from plutino.lab.demo import BERLIN, OUTER, PARIS
from plutino.lab.hosts import Host
from tests.support.ike_lab import ike_processes, passes, spis, until_it_passes, use_ike
from tests.support.lab import Pair, running_pair
from tests.support.ocsp_responder import PORT, responder, silent_responder
from tests.support.pki import Certified, answered_at, issue, respond
from tests.support.until import until

_TCP_PORTS = slice(34, 38)
"""After Ethernet and IPv4."""
URL = f"http://192.0.2.2:{PORT}/"


_NONCE_BEFORE = bytes.fromhex("06092b0601050507300102 04220420")
NONCE = re.compile(re.escape(_NONCE_BEFORE) + b"(.{32})", re.DOTALL)
"""The extension in a request and in a response (RFC 9654, 2.1)."""


class Pki:
    """Berlin's certificate names a responder that is at Berlin's outer address, or elsewhere."""

    def __init__(self, url: str = URL) -> None:
        self.root = issue("root", authority=True)
        self.paris = issue(PARIS, self.root, dns="paris.example")
        named = (answered_at(url),)
        self.berlin = issue(BERLIN, self.root, dns="berlin.example", extensions=named)


@contextmanager
def certified_pair(plane: str, pki: Pki, paris: str, berlin: str = "") -> Iterator[Pair]:
    """Not yet started. What Paris sends to Berlin's own address is for the tunnel, too."""
    with running_pair(start=False, plane=plane) as pair:
        for host, peer, own, lines in (
            (pair.paris, BERLIN, pki.paris, paris),
            (pair.berlin, PARIS, pki.berlin, f'start = "listen"\n{berlin}'),
        ):
            _certify(host, peer, own, pki.root, lines)
        text = pair.paris.file.read_text()
        before = next(line for line in text.splitlines() if line.startswith("routes ="))
        pair.paris.file.write_text(text.replace(before, 'routes = ["0.0.0.0/0", "192.0.2.2/32"]'))
        yield pair


def _certify(host: Host, peer: str, own: Certified, root: Certified, lines: str) -> None:
    use_ike(
        host,
        peer,
        f'local-id = "{host.name}.example"\nremote-id = "{peer}.example"\n'
        f'certificate = "own.pem"\nprivate-key = "own.key"\nauthorities = "ca.pem"\n{lines}',
    )
    for name, octets in (("own.pem", own.pem), ("own.key", own.key_pem), ("ca.pem", root.pem)):
        (host.folder / name).touch(mode=0o600)
        (host.folder / name).write_bytes(octets)


def begin_anew(host: Host) -> None:
    """By another IKE process, which knows no answers."""
    (process,) = ike_processes(host)
    os.kill(int(process.name), signal.SIGKILL)


def change(host: Host) -> None:
    """By a reload with something else for IKE, which keeps what responders have said."""
    host.file.write_text(host.file.read_text() + "liveness-after = 31\n")
    assert host.plutino("apply", host.file).returncode in (0, 3)


def says(host: Host, words: str) -> None:
    until(lambda: words in host.log.read_text(), words)


def test_a_responder_is_asked_outside_of_the_tunnel(plane: str) -> None:
    """Although packets to its address go through that."""
    pki = Pki()
    with certified_pair(plane, pki, 'ocsp-policy = "strict"') as pair:
        place = pair.berlin.folder / "responder"
        with responder(pair.berlin.namespace, place, pki.root, berlin=(pki.berlin, "V")):
            for host in (pair.berlin, pair.paris):
                host.start_daemon()
            until_it_passes(pair)
        assert number_of_requests(pair) == 1
        asked, answered = (found for frame, _ in pair.frames for found in NONCE.findall(frame))
        assert asked == answered


def test_without_an_answer_and_revoked_nobody_comes_in(plane: str) -> None:
    pki = Pki()
    with certified_pair(plane, pki, 'ocsp-policy = "strict"') as pair:
        for host in (pair.berlin, pair.paris):
            host.start_daemon()
        says(pair.paris, f"{URL}: Connection refused")
        says(pair.paris, "no OCSP response says that the certificate of CN=berlin is good")
        place = pair.berlin.folder / "responder"
        with responder(pair.berlin.namespace, place, pki.root, berlin=(pki.berlin, "R")):
            begin_anew(pair.paris)
            says(pair.paris, "the certificate of CN=berlin is revoked (OCSP)")
            says(pair.berlin, "AUTHENTICATION_FAILED")  # of a request or a response of its own
        assert not passes(pair.paris)
        assert "revoked" not in pair.berlin.log.read_text()


def number_of_requests(pair: Pair) -> int:
    """Connections with one, on the wire, and so outside of the tunnel."""
    words = b"Content-Type: application/ocsp-request"
    return len({frame[_TCP_PORTS] for frame, _ in pair.frames if words in frame})


def test_a_certificate_does_not_make_paris_ask_itself(plane: str) -> None:
    """By whichever of its own addresses; the gateway file may."""
    url = f"http://{OUTER[4][PARIS]}:{PORT}/"
    pki = Pki(url)
    with certified_pair(plane, pki, 'ocsp-policy = "strict"') as pair:
        place = pair.paris.folder / "responder"
        with responder(pair.paris.namespace, place, pki.root, berlin=(pki.berlin, "V")):
            for host in (pair.berlin, pair.paris):
                host.start_daemon()
            says(pair.paris, f"leads to {OUTER[4][PARIS]}: only `ocsp-url` may")
            says(pair.paris, "no OCSP response says that the certificate of CN=berlin is good")
            assert not passes(pair.paris)
            pair.paris.file.write_text(pair.paris.file.read_text() + f'ocsp-url = "{url}"\n')
            assert pair.paris.plutino("apply", pair.paris.file).returncode in (0, 3)
            begin_anew(pair.paris)
            until_it_passes(pair)


@pytest.mark.parametrize("policy", ["strict", "if-present"])
def test_a_silent_responder_counts_by_the_policy(plane: str, policy: str) -> None:
    pki = Pki()
    with (
        certified_pair(plane, pki, f'ocsp-policy = "{policy}"') as pair,
        silent_responder(pair.berlin.namespace),
    ):
        for host in (pair.berlin, pair.paris):
            host.start_daemon()
        says(pair.paris, f"{URL} does not answer")
        if policy == "strict":
            says(pair.paris, "no OCSP response says that the certificate of CN=berlin is good")
            assert not passes(pair.paris)
        else:
            until_it_passes(pair)


def test_berlin_brings_the_response_along(plane: str) -> None:
    """RFC 4806; another one by a reload leaves alone what is up."""
    pki = Pki()
    stapled = 'ocsp-response-file = "own.ocsp"'
    with certified_pair(plane, pki, 'ocsp-policy = "strict"', stapled) as pair:
        file = pair.berlin.folder / "own.ocsp"
        file.write_bytes(respond(pki.berlin, pki.root))
        for host in (pair.berlin, pair.paris):
            host.start_daemon()
        until_it_passes(pair)
        before = spis(pair.paris)
        file.write_bytes(respond(pki.berlin, pki.root, OCSPCertStatus.REVOKED))
        assert pair.berlin.plutino("apply", pair.berlin.file).returncode == 0
        assert passes(pair.paris)
        assert spis(pair.paris) == before
        change(pair.paris)
        says(pair.paris, "the certificate of CN=berlin is revoked (OCSP)")
        pair.assert_nothing_in_clear()
