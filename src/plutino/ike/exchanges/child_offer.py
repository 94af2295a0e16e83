"""The part of IKE_AUTH and CREATE_CHILD_SA that makes a CHILD_SA (RFC 7296, 1.3.1 and 2.9)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import TYPE_CHECKING

from plutino.ike.active_child import is_in_udp
from plutino.ike.child import Child, ChildKeys
from plutino.ike.config import ChildConfig
from plutino.ike.crypto.keymat import SharedSecrets, child_keymat
from plutino.ike.errors import (
    InvalidSyntaxError,
    NoProposalChosenError,
    TsUnacceptableError,
)
from plutino.ike.esp_suites import keymat_size
from plutino.ike.events import Refused, SaAwaited
from plutino.ike.exchanges.translated import Sides, as_seen_here, as_seen_there
from plutino.ike.message.message import Message
from plutino.ike.narrowing import (
    common,
    count_of,
    is_subset,
    meeting,
    narrow,
    selector_of,
    words_of,
)
from plutino.ike.numbers import NotifyType, PayloadType, Protocol
from plutino.ike.payloads.generic import Payload
from plutino.ike.payloads.notify import NotifyPayload
from plutino.ike.payloads.proposal import SaPayload
from plutino.ike.payloads.traffic_selector import TrafficSelector, TsPayload
from plutino.ike.proposals import (
    Chosen,
    Suite,
    check_answer,
    choose,
    offer,
    refusal_words,
    without_key_exchange,
)
from plutino.ike.schedule import due_at
from plutino.model.numbers import SPI_RESERVED
from plutino.model.policy import IpAddress, Mode
from plutino.model.secret import Secret

if TYPE_CHECKING:
    from plutino.ike.session import Session

SPI_SIZE = 4
MOST_SELECTORS = 1024
"""Pairs of prefixes, unless more are configured: a peer may narrow to ranges that make many."""
Nonces = tuple[bytes, bytes]
"""The initiator's and the responder's."""
_MOST_TOLD = 4
"""Configurations that the log names where none fits."""
_HINT = '; `child-sas = "per-pair"` asks for one after the other'
_MODE_NOTIFIES = {
    Mode.TRANSPORT: NotifyType.USE_TRANSPORT_MODE,
    Mode.BEET: NotifyType.USE_BEET_MODE,
}


@dataclass(frozen=True, slots=True)
class ChildOffer:
    """What we offer: suites in their order, our inbound SPI, selectors of both sides."""

    config: ChildConfig
    suites: tuple[Suite, ...]
    spi: bytes
    local: tuple[TrafficSelector, ...]
    remote: tuple[TrafficSelector, ...]

    def payloads(self) -> list[Payload]:
        """N(mode), SA, TSi, TSr; the nonce and KE stand between SA and TSi by the caller."""
        return [*self.mode(), self.sa(), *self.selectors()]

    def sa(self) -> SaPayload:
        """SAi."""
        return offer(Protocol.ESP, self.spi, self.suites)

    def selectors(self) -> list[Payload]:
        """TSi, TSr of the initiator."""
        return [TsPayload(PayloadType.TS_I, self.local), TsPayload(PayloadType.TS_R, self.remote)]

    def mode(self) -> list[Payload]:
        """The notify that asks for another mode than tunnel."""
        asked = _MODE_NOTIFIES.get(self.config.mode)
        return [] if asked is None else [NotifyPayload(asked)]


@dataclass(frozen=True, slots=True)
class AgreedChild:
    """What both ends agreed upon: a CHILD_SA once there are keys. ``spi`` is our inbound one."""

    config: ChildConfig
    spi: bytes
    chosen: Chosen
    local: tuple[TrafficSelector, ...]
    remote: tuple[TrafficSelector, ...]
    mode: Mode
    is_initiator: bool

    def make(self, session: Session, shared: SharedSecrets, nonces: Nonces, now: float) -> Child:
        """The CHILD_SA with its keys.

        NoProposalChosenError if another one has got its SPI while key exchanges followed.
        """
        _check_spi(session, self.chosen.spi)
        keys = session.session_keys
        size = keymat_size(self.chosen)
        keymat = child_keymat(keys.prf, keys.keys.d, shared, b"".join(nonces), 2 * size)
        forth, back = Secret(keymat[:size]), Secret(keymat[size:])
        return Child(
            self.config,
            spi_in=self.spi,
            spi_out=self.chosen.spi,
            chosen=self.chosen,
            keys=ChildKeys(back, forth) if self.is_initiator else ChildKeys(forth, back),
            local=self.local,
            remote=self.remote,
            mode=self.mode,
            created=now,
            lowest_nonce=min(nonces),
            rekey_at=due_at(self.config.lifetimes, now, session.surroundings.random),
        )


def make_offer(session: Session, config: ChildConfig, *, with_key_exchange: bool) -> ChildOffer:
    """A new inbound SPI with what is configured."""
    suites = config.suites if with_key_exchange else without_key_exchange(config.suites)
    local, remote = _selectors(session, config)
    return ChildOffer(config, suites, session.surroundings.new_child_spi(), local, remote)


def take_answer(session: Session, offered: ChildOffer, message: Message) -> AgreedChild:
    """What the responder's SA, TSi and TSr say; PeerError if not within what was offered."""
    sa, initiator, responder = _three(message)
    chosen = check_answer(sa, offered.suites, Protocol.ESP, SPI_SIZE)
    _check_spi(session, chosen.spi)
    local, remote = initiator.known, responder.known
    if offered.config.mode is Mode.TRANSPORT:
        local, remote = as_seen_here(session, (local, remote))
    if not all(meeting(local, remote)):
        raise TsUnacceptableError("no traffic selector is left")
    if not is_subset(local, offered.local) or not is_subset(remote, offered.remote):
        raise TsUnacceptableError("the peer widened the traffic selectors")
    _check_count(offered.config, local, remote)
    mode = _answered_mode(message, offered.config.mode)
    return AgreedChild(offered.config, offered.spi, chosen, local, remote, mode, is_initiator=True)


def answer_offer(
    session: Session,
    message: Message,
    config: ChildConfig | None,
    *,
    chosen: Chosen | None = None,
) -> tuple[AgreedChild, list[Payload]]:
    """The responder's side: what is agreed upon, and N(mode), SA, TSi, TSr of the response.

    ``config`` is that of the child to be replaced, None for a new one: then the first one fits
    whose selectors and proposals meet the offer. NoProposalChosenError or TsUnacceptableError.
    """
    if message.notify(NotifyType.USE_TRANSPORT_MODE) and message.notify(NotifyType.USE_BEET_MODE):
        raise InvalidSyntaxError("two modes at once")
    sa, initiator, responder = _three(message)
    wanted = _wanted_mode(message)
    configs = session.peer.children if config is None else (config,)
    offered = responder.known, initiator.known
    config, (local, remote) = _fit(session, configs, offered, wanted)
    if chosen is None:
        suites = without_key_exchange(config.suites)
        chosen = choose(sa, suites, Protocol.ESP)
    _check_spi(session, chosen.spi)
    _check_count(config, local, remote)
    spi = session.surroundings.new_child_spi()
    mode = wanted if wanted is config.mode else Mode.TUNNEL
    agreed = AgreedChild(config, spi, chosen, local, remote, mode, is_initiator=False)
    answered: list[Payload] = (
        [NotifyPayload(_MODE_NOTIFIES[mode])] if mode in _MODE_NOTIFIES else []
    )
    if _may_have_more(session, offered, (local, remote)):
        answered.append(NotifyPayload(NotifyType.ADDITIONAL_TS_POSSIBLE))
    if mode is Mode.TRANSPORT:
        local, remote = as_seen_there((local, remote), offered)
    answered += [
        chosen.answer(spi),
        TsPayload(PayloadType.TS_I, remote),
        TsPayload(PayloadType.TS_R, local),
    ]
    return agreed, answered


def expect_esp(session: Session, offered: ChildOffer) -> None:
    """Tells that the peer may send by what is offered before its answer is read (RFC 7296, 2.8)."""
    udp = is_in_udp(session)
    session.tell(SaAwaited(session.peer.name, session.path, offered.spi, udp))


def refusal_of(error: NotifyPayload, offered: ChildOffer) -> str:
    """What the log has of a CHILD_SA that the peer refuses."""
    words = f"the peer refuses the CHILD_SA: {refusal_words(error, offered.suites)}"
    if error.type == NotifyType.TS_UNACCEPTABLE:
        words += f", of {words_of(offered.local, offered.remote)}"
    return f"{words}{_HINT}" if error.type == NotifyType.SINGLE_PAIR_REQUIRED else words


def note_what_is_left(session: Session, agreed: AgreedChild, message: Message) -> None:
    """The log has it where the peer takes the rest in CHILD_SAs of their own (RFC 7296, 2.9)."""
    offered = agreed.config.local, agreed.config.remote
    has_several = any(len(side) > 1 for side in offered)
    if has_several and message.notify(NotifyType.ADDITIONAL_TS_POSSIBLE) is not None:
        why = f"the peer takes less in a CHILD_SA than it is asked for{_HINT}"
        session.tell(Refused(session.peer.name, why))


def note_other_pairs(session: Session, agreed: AgreedChild) -> None:
    """The log has it where the peer makes several of what is one CHILD_SA here.

    The newest one sends, and the peer takes by it what it has agreed upon for that alone.
    """
    pair = agreed.local, agreed.remote
    same = (one for one in session.children if one.config.name == agreed.config.name)
    if any(one.is_current and (one.local, one.remote) != pair for one in same):
        why = 'the peer has several CHILD_SAs for this tunnel; `child-sas = "per-pair"` has, too'
        session.tell(Refused(session.peer.name, why))


def _may_have_more(session: Session, offered: Sides, taken: Sides) -> bool:
    """Whether some of what is offered is for another CHILD_SA."""
    for config in session.peer.children:
        own = _selectors(session, config)
        left = meeting(*(tuple(common(*pair)) for pair in zip(offered, own, strict=True)))
        if all(left) and not all(map(_is_all_taken, left, taken)):
            return True
    return False


def _is_all_taken(left: Sequence[TrafficSelector], taken: Sequence[TrafficSelector]) -> bool:
    """Most are taken as they are."""
    return is_subset([*{*left} - {*taken}], taken)


def _check_spi(session: Session, spi: bytes) -> None:
    """NoProposalChosenError for one that no ESP packet may bear, or that two SAs would have."""
    if len(spi) != SPI_SIZE:
        raise NoProposalChosenError(f"an SPI of {len(spi)} bytes")
    if int.from_bytes(spi, "big") <= SPI_RESERVED:
        raise NoProposalChosenError(f"SPI {spi.hex()} is reserved (RFC 4303, 2.1)")
    if session.children.by_outbound(spi) is not None:
        raise NoProposalChosenError(f"SPI {spi.hex()} is that of another CHILD_SA")


def _check_count(
    config: ChildConfig, local: tuple[TrafficSelector, ...], remote: tuple[TrafficSelector, ...]
) -> None:
    most = max(MOST_SELECTORS, count_of(config.local, config.remote))
    if count_of(local, remote, most) > most:
        raise TsUnacceptableError(f"the traffic selectors make more than {most} policies")


def config_for(session: Session, message: Message) -> ChildConfig:
    """Which configured child a request for a new one is about; TsUnacceptableError if none."""
    _, initiator, responder = _three(message)
    sides = responder.known, initiator.known
    return _fit(session, session.peer.children, sides, _wanted_mode(message))[0]


def _fit(
    session: Session,
    configs: Sequence[ChildConfig],
    offered: Sides,
    wanted: Mode,
) -> tuple[ChildConfig, Sides]:
    """The configuration that fits best, and its selectors narrowed.

    By mode, then one of just these selectors, then one that has the first ones that are offered:
    they are of the packet that asks for it (RFC 7296, 2.9).
    """

    def asked_of(config: ChildConfig) -> Sides:
        both = {config.mode, wanted} == {Mode.TRANSPORT}
        return as_seen_here(session, offered) if both else offered

    def distance(config: ChildConfig) -> tuple[bool, bool, bool]:
        own, asked = _selectors(session, config), asked_of(config)
        local, remote = own
        has_first = is_subset(asked[0][:1], local) and is_subset(asked[1][:1], remote)
        return config.mode is not wanted, own != asked, not has_first

    ranked = sorted(configs, key=distance)
    for config in ranked:
        own_local, own_remote = _selectors(session, config)
        asked = asked_of(config)
        local, remote = meeting(narrow(asked[0], own_local), narrow(asked[1], own_remote))
        if local and remote:
            if config.mode is not wanted and config.mode is not Mode.TUNNEL:
                continue  # a peer that does not ask for the mode cannot have it
            return config, (local, remote)
    allowed = " or ".join(words_of(*_selectors(session, one)) for one in ranked[:_MOST_TOLD])
    raise TsUnacceptableError(
        f"no offered traffic selector is allowed here: offered {words_of(*offered)}; "
        f"allowed {allowed}"
    )


def _selectors(session: Session, config: ChildConfig) -> Sides:
    """What is configured; in transport mode the outer addresses alone make sense."""
    if config.mode is not Mode.TRANSPORT:
        return config.local, config.remote
    here, there = session.path.local.address, session.path.remote.address
    return _at(config.local, here), _at(config.remote, there)


def _at(selectors: Sequence[TrafficSelector], address: IpAddress) -> tuple[TrafficSelector, ...]:
    host = selector_of(ip_network(address))
    return tuple(
        replace(one, first=host.first, last=host.last)
        for one in selectors
        if one.version == address.version
    )


def _three(message: Message) -> tuple[SaPayload, TsPayload, TsPayload]:
    sa = message.first(SaPayload)
    initiator, responder = message.of_type(PayloadType.TS_I), message.of_type(PayloadType.TS_R)
    if sa is None or not isinstance(initiator, TsPayload) or not isinstance(responder, TsPayload):
        raise InvalidSyntaxError("SA, TSi or TSr is missing")
    return sa, initiator, responder


def _wanted_mode(message: Message) -> Mode:
    for mode, notify in _MODE_NOTIFIES.items():
        if message.notify(notify) is not None:
            return mode
    return Mode.TUNNEL


def _answered_mode(message: Message, offered: Mode) -> Mode:
    """The mode that we asked for, or tunnel where the peer declines it (RFC 7296, 1.3.1)."""
    answered = _wanted_mode(message)
    if answered is not offered and offered is not Mode.TUNNEL:
        raise TsUnacceptableError(f"the peer declines mode {offered.name.lower()}")
    return answered
