"""What an IKE SA does by itself when its time has come."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from plutino.ike.child import Child, ChildInput, ChildState
from plutino.ike.esp_use import want_use
from plutino.ike.events import ChildrenChanged, ReauthenticationDue
from plutino.ike.exchanges.create_child import CreateChild
from plutino.ike.exchanges.delete import DeleteIke, Liveness
from plutino.ike.exchanges.mobike import CheckMapping
from plutino.ike.exchanges.own_addresses import TellAddresses
from plutino.ike.exchanges.rekey_ike import RekeyIke
from plutino.ike.numbers import KEEPALIVE
from plutino.ike.path import Datagram
from plutino.ike.schedule import KEEPALIVE_AFTER, ends_at, is_given_up
from plutino.ike.state import SessionState

if TYPE_CHECKING:
    from plutino.ike.session import Session


def next_timer(session: Session) -> float | None:
    """When something is due next; None for an IKE SA that has ended."""
    if session.is_closed:
        return None
    return min(_times(session), default=None)


def do_due(session: Session, now: float) -> None:
    """Everything whose time has come."""
    expires = session.schedule.expires_at
    if expires is not None and expires <= now:
        _expire(session, now)
        return
    session.half_made.expire(now)
    for child in list(session.children):
        _child_due(session, child, now)
    session.children[:] = [one for one in session.children if one.is_usable]
    if session.is_established:
        _established_due(session, now)
    if session.abilities.nat_here and session.schedule.last_sent + KEEPALIVE_AFTER <= now:
        session.schedule.last_sent = now
        session.outgoing.append(Datagram(session.path, KEEPALIVE))


def _times(session: Session) -> Iterator[float]:
    schedule = session.schedule
    window = session.window.next_due()
    if window is not None:
        yield window
    if schedule.expires_at is not None:
        yield schedule.expires_at
    half_made = session.half_made.next_due()
    if half_made is not None:
        yield half_made
    if session.children or session.is_established:
        yield from _established_times(session)
    if session.abilities.nat_here and session.keys is not None:
        yield schedule.last_sent + KEEPALIVE_AFTER


def _established_times(session: Session) -> Iterator[float]:
    schedule = session.schedule
    made = {one.config.name for one in session.ahead(CreateChild)}
    for child in session.children:
        yield from _child_times(child)
        may_rekey = session.is_established and child.config.name not in made
        if may_rekey and child.rekey_at is not None and child.state is ChildState.INSTALLED:
            yield child.rekey_at
    if session.is_established:
        own = session.told_at
        for time in (schedule.rekey_at, schedule.reauthenticate_at, own, _liveness_at(session)):
            if time is not None:
                yield time
        for name, time in session.children.missing(session.wanted).items():
            if name not in made:
                yield time


def _child_times(child: Child) -> Iterator[float]:
    if child.state is ChildState.STRAGGLING and child.straggling_until is not None:
        yield child.straggling_until
    if child.outbound_at is not None and child.is_current and not child.outbound:
        yield child.outbound_at


def _child_due(session: Session, child: Child, now: float) -> None:
    if child.state is ChildState.STRAGGLING and (child.straggling_until or 0) <= now:
        child.advance(ChildInput.GONE)
        session.tell(ChildrenChanged(session.peer.name, "stragglers have had their time"))
    waits = child.is_current and not child.outbound
    if waits and child.outbound_at is not None and child.outbound_at <= now:
        session.children.prefer(child)
        session.tell(ChildrenChanged(session.peer.name, "the new CHILD_SA sends"))
    due = child.rekey_at
    if due is None or due > now or child.state is not ChildState.INSTALLED:
        return
    if session.is_established and not session.makes(child.config.name):
        if is_given_up(child.config.lifetimes, child.created, due, now):
            end = ends_at(child.config.lifetimes, child.created)
            child.rekey_at = _replace_or_end(session, end, "a CHILD_SA", now)
        else:
            session.enqueue(CreateChild(child.config, child), now)


def _replace_or_end(session: Session, end: float, what: str, now: float) -> float | None:
    """Of what the peer does not rekey: first the IKE SA is made anew, which costs no packet.

    Gives when to look again.
    """
    if now < end:
        session.tell(ReauthenticationDue(session.peer.name, session.initiator_spi))
        return end
    session.enqueue(DeleteIke(f"the peer lets {what} have no new keys"), now, first=True)
    return None


def _established_due(session: Session, now: float) -> None:
    schedule = session.schedule
    if schedule.reauthenticate_at is not None and schedule.reauthenticate_at <= now:
        schedule.reauthenticate_at = None
        session.tell(ReauthenticationDue(session.peer.name, session.initiator_spi))
    if schedule.rekey_at is not None and schedule.rekey_at <= now:
        due, schedule.rekey_at = schedule.rekey_at, None
        began = session.created if session.established_at is None else session.established_at
        if is_given_up(session.peer.lifetimes, began, due, now):
            end = ends_at(session.peer.lifetimes, began)
            schedule.rekey_at = _replace_or_end(session, end, "it", now)
        else:
            session.enqueue(RekeyIke(), now)
    for name, time in session.children.missing(session.wanted).items():
        if time <= now and not session.makes(name):
            session.wanted[name] = now + session.pause(name)
            session.enqueue(CreateChild(session.peer.child(name)), now)
    if session.told_at is not None and session.told_at <= now:
        session.told_at = None
        session.enqueue(TellAddresses(), now)
    liveness = _liveness_at(session)
    if liveness is not None and liveness <= now and not _may_be_heard(session, now):
        session.enqueue(CheckMapping() if _has_mapping(session) else Liveness(), now)


def _may_be_heard(session: Session, now: float) -> bool:
    """Whether the data plane is asked first; what a NAT does to us it cannot know."""
    return not _is_unmapped(session) and want_use(session, now)


def _is_unmapped(session: Session) -> bool:
    """Whether it is not known yet how the peer sees us."""
    return session.seen_as is None and _has_mapping(session)


def _has_mapping(session: Session) -> bool:
    """Whether a NAT maps us, and it is for us to say when it does so in another way."""
    return session.may_move and session.abilities.mobike and session.abilities.nat_here


def _liveness_at(session: Session) -> float | None:
    """When silence has lasted too long; not while another request asks the same anyway.

    At once where it is not known yet how the peer sees us: later changes would pass unnoticed.
    """
    after = session.peer.liveness_after
    if after is None or session.window.waiting or session.queue:
        return None
    due = session.schedule.last_heard + (0.0 if _is_unmapped(session) else after)
    return due if session.use_until is None else max(due, session.use_until)


def _expire(session: Session, now: float) -> None:
    """Half open for too long, or replaced and never deleted by the peer."""
    session.schedule.expires_at = None
    if session.state is SessionState.REPLACED:
        session.close("the peer did not delete what it replaced", now)
    elif session.is_established:
        session.close("the peer did not delete its redundant IKE SA", now)
    else:
        session.close("the peer did not prove its identity in time", now)
