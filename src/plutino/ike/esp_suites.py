"""The ESP suite of a CHILD_SA: from the chosen transforms to the data plane's algorithms."""

from plutino.ike.errors import NoProposalChosenError
from plutino.ike.numbers import TransformType
from plutino.ike.proposals import Chosen
from plutino.model.algorithms import ESP_SUITES, EspSuite


def esp_suite(chosen: Chosen) -> EspSuite:
    """NoProposalChosenError where no data plane of ours has the algorithms."""
    encryption = chosen.encryption
    integrity = chosen.id_of(TransformType.INTEG)
    for suite in ESP_SUITES.values():
        own = suite.encryption
        bits = encryption.key_bits
        fits = own.ike_id == encryption.id and (bits is None or own.key_size * 8 == bits)
        if fits and (suite.integrity.ike_id if suite.integrity else 0) == integrity:
            return suite
    raise NoProposalChosenError(f"no ESP suite of {chosen.transforms}")


def keymat_size(chosen: Chosen) -> int:
    """Bytes of one direction's keys (RFC 7296, 2.17)."""
    return esp_suite(chosen).keymat_size
