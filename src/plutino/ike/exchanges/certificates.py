"""CERT and CERTREQ (RFC 7296, 3.6 and 3.7), with OCSP in them (RFC 4806)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final

from plutino.ike.auth.certificates import X509_SIGNATURE
from plutino.ike.auth.ocsp import OCSP_CONTENT
from plutino.ike.config import PeerConfig
from plutino.ike.message.message import Message
from plutino.ike.payloads.identification import CertPayload, CertReqPayload

if TYPE_CHECKING:
    from plutino.ike.session import Session

_MOST_HASHES: Final = 16
"""IKE_SA_INIT goes to anybody, and has to fit into a packet; few peers look at them."""


def certificates(session: Session) -> list[CertPayload]:
    """Our CERT payloads, the leaf first."""
    if not session.peer.send_certificates:
        return []
    requested = {OCSP_CONTENT} if session.abilities.wants_ocsp else ()
    found = session.peer.local_credential.certificates(requested)
    return [CertPayload(one.encoding, one.data) for one in found]


def certificate_requests(peers: Sequence[PeerConfig]) -> list[CertReqPayload]:
    """CERTREQ with the authorities that we trust for any of these, if there are such.

    One more asks for the response of whatever responder the authority trusts (RFC 4806, 3.1).
    """
    hashes = dict.fromkeys(one for peer in peers for one in peer.remote_credential.authorities)
    found = [CertReqPayload(X509_SIGNATURE, b"".join(islice(hashes, _MOST_HASHES)))]
    if any(one.remote_credential.asks_for_ocsp for one in peers):
        found.append(CertReqPayload(OCSP_CONTENT, b""))
    return found if hashes else []


def note_requests(session: Session, message: Message) -> None:
    """What is asked of us, in the response of IKE_SA_INIT or in the request of IKE_AUTH."""
    encodings = {one.encoding for one in message.all(CertReqPayload)}
    session.abilities.wants_ocsp = OCSP_CONTENT in encodings
