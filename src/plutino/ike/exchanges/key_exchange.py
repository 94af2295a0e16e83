"""What all exchanges with a key exchange share: nonces, and the peer's value as it comes."""

from typing import Final

from plutino.ike.crypto.key_exchange import KEY_EXCHANGES, KeyExchange
from plutino.ike.crypto.started import Random
from plutino.ike.errors import InvalidSyntaxError
from plutino.ike.message.message import Message
from plutino.ike.payloads.generic import NoncePayload
from plutino.ike.payloads.key_exchange import KePayload
from plutino.ike.payloads.proposal import SaPayload

NONCE_SIZE: Final = 32
"""Bytes of our nonces: half the longest PRF key that we offer, at least (RFC 7296, 2.10)."""


def start(method: int, random: Random) -> tuple[KeyExchange, KePayload]:
    """A key exchange of ours with its KE payload."""
    started = KEY_EXCHANGES[method].start(random)
    return started, KePayload(method, started.public)


def finish(started: KeyExchange, ke: KePayload) -> bytes:
    """The shared secret; InvalidSyntaxError if the peer's value is not acceptable."""
    try:
        return started.finish(ke.data)
    except ValueError as error:
        raise InvalidSyntaxError(f"KE: {error}") from error


def respond(ke: KePayload, random: Random) -> tuple[KePayload, bytes]:
    """Our KE payload and the shared secret; InvalidSyntaxError as for ``finish``."""
    try:
        public, shared = KEY_EXCHANGES[ke.method].respond(ke.data, random)
    except ValueError as error:
        raise InvalidSyntaxError(f"KE: {error}") from error
    return KePayload(ke.method, public), shared


def sa_ke_nonce(message: Message) -> tuple[SaPayload, KePayload, NoncePayload]:
    """What makes an IKE SA, first or anew; InvalidSyntaxError where one is missing."""
    sa, ke, nonce = message.first(SaPayload), message.first(KePayload), message.first(NoncePayload)
    if sa is None or ke is None or nonce is None:
        raise InvalidSyntaxError("SA, KE or nonce is missing")
    return sa, ke, nonce
