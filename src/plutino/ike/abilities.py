"""What both ends of an IKE SA can do, as they told each other in IKE_SA_INIT and IKE_AUTH."""

from dataclasses import dataclass


@dataclass(slots=True)
class Abilities:
    """``signature_hashes`` None means that the peer knows classic signatures only (RFC 7427).

    ``wants_ocsp``: its CERTREQ asks for a responder's answer about our certificate (RFC 4806).
    ``nat_here`` and ``nat_there``: a NAT changes our address, or the peer's (RFC 7296, 2.23).
    """

    fragmentation: bool = False
    mobike: bool = False
    childless: bool = False
    ppk: bool = False
    wants_ocsp: bool = False
    signature_hashes: frozenset[int] | None = None
    nat_here: bool = False
    nat_there: bool = False
    detects_nat: bool = False

    @property
    def has_nat(self) -> bool:
        """Whether ESP must go in UDP."""
        return self.nat_here or self.nat_there
