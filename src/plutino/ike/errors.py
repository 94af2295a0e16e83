"""What a peer did wrong, or what we refuse it: each error knows its notify (RFC 7296, 2.21).

``reason`` goes to our own log and never to the peer: from outside, failures look the same.
"""

from typing import ClassVar

from plutino.ike.numbers import NotifyType
from plutino.model.errors import PlutinoError


class PeerError(PlutinoError):
    """An exchange fails; ``notify`` and ``data`` are the answer.

    ``fatal`` means that the IKE SA ends with it (RFC 7296, 2.21.2 and 2.21.3).
    """

    notify: ClassVar[NotifyType] = NotifyType.INVALID_SYNTAX
    fatal: ClassVar[bool] = False

    def __init__(self, reason: str, data: bytes = b"") -> None:
        super().__init__(reason)
        self.reason = reason
        self.data = data


class InvalidSyntaxError(PeerError):
    """Malformed inside, although authentic: the IKE SA ends."""

    fatal = True


class UnsupportedCriticalPayloadError(PeerError):
    """A payload that is critical to the peer and unknown to us (RFC 7296, 2.5)."""

    notify = NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD

    def __init__(self, number: int) -> None:
        super().__init__(f"critical payload {number} is unknown", bytes((number,)))


class NoProposalChosenError(PeerError):
    """No offered proposal is allowed here."""

    notify = NotifyType.NO_PROPOSAL_CHOSEN


class InvalidKeError(PeerError):
    """The KE payload is of another method than the chosen one, which ``data`` names."""

    notify = NotifyType.INVALID_KE_PAYLOAD

    def __init__(self, wanted: int) -> None:
        super().__init__(f"key exchange method {wanted} is wanted", wanted.to_bytes(2, "big"))
        self.wanted = wanted


class AuthenticationFailedError(PeerError):
    """The peer is not who it should be."""

    notify = NotifyType.AUTHENTICATION_FAILED
    fatal = True


class TsUnacceptableError(PeerError):
    """Nothing of the offered traffic selectors is allowed here."""

    notify = NotifyType.TS_UNACCEPTABLE


class NoAdditionalSasError(PeerError):
    """There are as many CHILD_SAs as an IKE SA may have (RFC 7296, 1.3)."""

    notify = NotifyType.NO_ADDITIONAL_SAS


class UnexpectedNatDetectedError(PeerError):
    """The peer forbids NATs, and there is one (RFC 4555, 3.9)."""

    notify = NotifyType.UNEXPECTED_NAT_DETECTED


class TemporaryFailureError(PeerError):
    """Not now: another exchange about the same SA is under way (RFC 7296, 2.25)."""

    notify = NotifyType.TEMPORARY_FAILURE


class StateNotFoundError(PeerError):
    """A follow-up of a CREATE_CHILD_SA that is over, or never was (RFC 9370, 2.2.4)."""

    notify = NotifyType.STATE_NOT_FOUND


class ChildSaNotFoundError(PeerError):
    """The CHILD_SA to be rekeyed is none of ours (RFC 7296, 2.25)."""

    notify = NotifyType.CHILD_SA_NOT_FOUND
