"""What AUTH covers (RFC 7296, 2.15; RFC 9242, 3.3.2)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

Prf = Callable[[bytes, bytes], bytes]
"""prf(key, data) of the IKE SA."""

_HEADER = 28
_GENERIC = 4


@dataclass(frozen=True, slots=True)
class IntermediateOctets:
    """IntAuth_i and IntAuth_r as they grow with each IKE_INTERMEDIATE; empty without any."""

    initiator: bytes = field(default=b"", repr=False)
    responder: bytes = field(default=b"", repr=False)

    def with_message(
        self, prf: Prf, key: bytes, associated: bytes, plaintext: bytes, *, is_request: bool
    ) -> Self:
        """After one more message: ``associated`` is the header and SK's generic header.

        Their lengths are those of a message whose SK holds the plaintext alone.
        """
        total = (_HEADER + _GENERIC + len(plaintext)).to_bytes(4, "big")
        size = (_GENERIC + len(plaintext)).to_bytes(2, "big")
        adjusted = associated[:24] + total + associated[28:30] + size
        before = self.initiator if is_request else self.responder
        after = prf(key, before + adjusted + plaintext)
        if is_request:
            return type(self)(after, self.responder)
        return type(self)(self.initiator, after)

    def covered(self, auth_message_id: int) -> bytes:
        """IntAuth: both values and the message id of the first IKE_AUTH."""
        if not self.initiator:
            return b""
        return self.initiator + self.responder + auth_message_id.to_bytes(4, "big")


def signed_octets(
    init_message: bytes, peer_nonce: bytes, maced_id: bytes, intermediate: bytes
) -> bytes:
    """The signer's IKE_SA_INIT message, the other's nonce, prf(SK_p, ID'), and IntAuth."""
    return init_message + peer_nonce + maced_id + intermediate
