"""Choosing one proposal out of what is offered and what is configured (RFC 7296, 2.7 and 3.3)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from plutino.ike.errors import NoProposalChosenError
from plutino.ike.numbers import (
    ADDITIONAL_KEY_EXCHANGES,
    NO_TRANSFORM,
    NotifyType,
    Protocol,
    TransformType,
)
from plutino.ike.payloads.notify import NotifyPayload
from plutino.ike.payloads.proposal import Proposal, SaPayload, Transform
from plutino.model.algorithms import COMBINED_MODES
from plutino.model.proposal import Algorithm
from plutino.model.proposal_words import describe

Suite = tuple[Transform, ...]
"""The transforms of one configured proposal, the preferred ones of each type first."""

_MAY_BE_ABSENT: Final = {
    TransformType.INTEG,
    TransformType.KE,
    TransformType.ESN,
    *ADDITIONAL_KEY_EXCHANGES,
}


_LONGEST_WORDS: Final = 300
_MOST_ALGORITHMS: Final = 40
"""Characters, and algorithms of a proposal, of an offer in a log: who sends it chooses its size."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """One transform of each type, under the number and SPI that the offer has for it."""

    number: int
    protocol: int
    spi: bytes
    transforms: dict[int, Transform]

    def id_of(self, type_: int) -> int:
        """The chosen algorithm; 0 where the type is absent."""
        transform = self.transforms.get(type_)
        return NO_TRANSFORM if transform is None else transform.id

    @property
    def encryption(self) -> Transform:
        """ENCR with its key length."""
        return self.transforms[TransformType.ENCR]

    @property
    def additional_key_exchanges(self) -> tuple[tuple[int, int], ...]:
        """Type and method of those that are not NONE, in the order of their types (RFC 9370)."""
        return tuple(
            (type_, self.id_of(type_)) for type_ in ADDITIONAL_KEY_EXCHANGES if self.id_of(type_)
        )

    def answer(self, spi: bytes) -> SaPayload:
        """The SA payload of a response, with our own SPI."""
        transforms = tuple(self.transforms.values())
        return SaPayload((Proposal(self.number, self.protocol, spi, transforms),))


def offer(protocol: Protocol, spi: bytes, suites: Sequence[Suite]) -> SaPayload:
    """The SA payload of a request: all configured proposals in their order."""
    return SaPayload(
        tuple(Proposal(number, protocol, spi, suite) for number, suite in enumerate(suites, 1))
    )


def choose(
    offered: SaPayload, suites: Sequence[Suite], protocol: Protocol, *, ke_sent: int | None = None
) -> Chosen:
    """The first configured suite that an offered proposal meets, by our order of preference.

    ``ke_sent``, the method of the KE payload that came along, is taken where the suite allows it:
    that saves a round trip. NoProposalChosenError if none fits.
    """
    for suite in suites:
        for proposal in offered.proposals:
            if proposal.protocol == protocol:
                transforms = _meet(proposal, suite, ke_sent)
                if transforms is not None:
                    return Chosen(proposal.number, protocol, proposal.spi, transforms)
    suites_offered = [one.transforms for one in offered.proposals if one.protocol == protocol]
    raise NoProposalChosenError(
        f"no offered proposal is allowed here: offered {_words(suites_offered)}; "
        f"allowed {_words(suites)}"
    )


def allows(suites: Sequence[Suite], transforms: Sequence[Transform]) -> bool:
    """Whether suites would have led to these transforms, one of each type."""
    proposal = Proposal(1, Protocol.NONE, b"", tuple(transforms))
    return any(_meet(proposal, suite, None) is not None for suite in suites)


def check_answer(
    answered: SaPayload, suites: Sequence[Suite], protocol: Protocol, spi_size: int
) -> Chosen:
    """What the peer chose out of our offer; NoProposalChosenError if we did not offer it.

    Other than in ``choose``, each type must stand there once at most (RFC 7296, 2.7).
    """
    if len(answered.proposals) != 1:
        raise NoProposalChosenError(f"{len(answered.proposals)} proposals in an answer, not one")
    (proposal,) = answered.proposals
    types = [one.type for one in proposal.transforms]
    single = len(set(types)) == len(types)
    in_range = 1 <= proposal.number <= len(suites)
    if not single or not in_range or proposal.protocol != protocol:
        raise NoProposalChosenError("the answer is none of the offered proposals")
    if len(proposal.spi) != spi_size:
        raise NoProposalChosenError(f"an SPI of {len(proposal.spi)} bytes, not {spi_size}")
    transforms = _meet(proposal, suites[proposal.number - 1], None)
    if transforms is None:
        raise NoProposalChosenError("the answer has transforms that were not offered")
    return Chosen(proposal.number, protocol, proposal.spi, transforms)


def refusal_words(error: NotifyPayload, suites: Sequence[Suite]) -> str:
    """The name of a peer's error; with what it was offered, where it wants none of that."""
    if error.type == NotifyType.NO_PROPOSAL_CHOSEN:
        return f"{error.name}, of {_words(suites)}"
    return error.name


def methods_of(suites: Iterable[Suite]) -> tuple[int, ...]:
    """The key exchange methods of all suites in their order."""
    found = (one.id for suite in suites for one in suite if one.type == TransformType.KE)
    return tuple(dict.fromkeys(found))


def likely_method(suites: Iterable[Suite], before: Iterable[int]) -> int:
    """The key exchange method to begin with: one that the peer has taken before, else the first.

    0 is none. KE should be of the group that the responder is expected to take (RFC 7296, 1.3.1).
    """
    own = methods_of(suites)
    return next((one for one in before if one and one in own), next(iter(own), 0))


def without_key_exchange(suites: Iterable[Suite]) -> tuple[Suite, ...]:
    """For IKE_AUTH, whose child takes its keys from the IKE SA (RFC 7296, 1.2)."""
    dropped = {TransformType.KE, *ADDITIONAL_KEY_EXCHANGES}
    return tuple(
        dict.fromkeys(tuple(one for one in suite if one.type not in dropped) for suite in suites)
    )


def without_additional(offered: SaPayload) -> SaPayload:
    """What a peer offers that can do without further key exchanges (RFC 9370, 2.2.1)."""
    found = []
    for proposal in offered.proposals:
        further = [proposal.of_type(type_) for type_ in ADDITIONAL_KEY_EXCHANGES]
        if all(any(one.id == NO_TRANSFORM for one in several) for several in further if several):
            kept = (
                one
                for one in proposal.transforms
                if one.type not in ADDITIONAL_KEY_EXCHANGES or one.id == NO_TRANSFORM
            )
            found.append(replace(proposal, transforms=tuple(kept)))
    return SaPayload(tuple(found))


def _words(suites: Sequence[Suite]) -> str:
    """In the words of a configuration."""
    words = ""
    for suite in suites:
        algorithms = (Algorithm(one.type, one.id, one.key_bits) for one in suite)
        words += (", " if words else "") + describe(islice(algorithms, _MOST_ALGORITHMS))
        if len(words) > _LONGEST_WORDS:
            return f"{words[:_LONGEST_WORDS]}..."
    return words or "none"


def _meet(proposal: Proposal, suite: Suite, ke_sent: int | None) -> dict[int, Transform] | None:
    chosen: dict[int, Transform] = {}
    types = {one.type for one in proposal.transforms} | {one.type for one in suite}
    for encryption in _common(proposal, suite, TransformType.ENCR):
        chosen = {TransformType.ENCR: encryption}
        for type_ in sorted(types - {TransformType.ENCR}):
            transform = _one(proposal, suite, type_, encryption, ke_sent)
            if transform is None:
                break
            if transform.id != NO_TRANSFORM or proposal.of_type(type_):
                chosen[type_] = transform
        else:
            return chosen
    return None


def _one(
    proposal: Proposal, suite: Suite, type_: int, encryption: Transform, ke_sent: int | None
) -> Transform | None:
    """The transform of a type, NONE where both sides can do without; None if they cannot meet."""
    none = Transform(type_, NO_TRANSFORM)
    if type_ == TransformType.INTEG and encryption.id in COMBINED_MODES:
        offered = proposal.of_type(type_)
        return none if not offered or none in offered else None
    common = _common(proposal, suite, type_)
    if type_ == TransformType.INTEG:
        common = [one for one in common if one.id != NO_TRANSFORM]
    if type_ == TransformType.KE:
        common.sort(key=lambda one: one.id != ke_sent)
    if common:
        return common[0]
    optional = type_ in _MAY_BE_ABSENT and type_ != TransformType.INTEG
    return none if optional and _may_lack(proposal.of_type(type_), suite, none) else None


def _may_lack(offered: tuple[Transform, ...], suite: Suite, none: Transform) -> bool:
    own = [one for one in suite if one.type == none.type]
    return (not offered or none in offered) and (not own or none in own)


def _common(proposal: Proposal, suite: Suite, type_: int) -> list[Transform]:
    offered = proposal.of_type(type_)
    return [one for one in suite if one.type == type_ and one in offered]
