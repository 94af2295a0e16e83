"""CERT and CERTREQ (RFC 7296, 3.6 and 3.7), with OCSP in them (RFC 4806)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from plutino.ike.auth.certificates import X509_SIGNATURE
from plutino.ike.auth.ocsp import OCSP_CONTENT
from plutino.ike.config import PeerConfig
from plutino.ike.message.message import Message
from plutino.ike.payloads.identification import CertPayload, CertReqPayload

if TYPE_CHECKING:
    from plutino.ike.session import Session


def certificates(session: Session) -> list[CertPayload]:
    """Our CERT payloads, the leaf first."""
    if not session.peer.send_certificates:
        return []
    requested = {OCSP_CONTENT} if session.abilities.wants_ocsp else ()
    found = session.peer.local_credential.certificates(requested)
    return [CertPayload(one.encoding, one.data) for one in found]


def certificate_requests(peer: PeerConfig) -> list[CertReqPayload]:
    """CERTREQ with all authorities we trust, if any, and one that asks for OCSP."""
    authorities = peer.remote_credential.authorities
    found = [CertReqPayload(X509_SIGNATURE, b"".join(authorities))] if authorities else []
    return [*found, *ocsp_requests([peer])]


def ocsp_requests(peers: Sequence[PeerConfig]) -> list[CertReqPayload]:
    """CERTREQ for the response of whatever responder the authority trusts (RFC 4806, 3.1)."""
    is_wanted = any(one.remote_credential.asks_for_ocsp for one in peers)
    return [CertReqPayload(OCSP_CONTENT, b"")] if is_wanted else []


def note_requests(session: Session, message: Message) -> None:
    """What is asked of us, in the response of IKE_SA_INIT or in the request of IKE_AUTH."""
    encodings = {one.encoding for one in message.all(CertReqPayload)}
    session.abilities.wants_ocsp = OCSP_CONTENT in encodings
