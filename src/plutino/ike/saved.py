"""An IKE SA as octets and back, so that the next daemon goes on where this one was killed. Pure.

What is saved before a datagram goes out is all that the peer can know of. An IKE SA that is about
to make or replace something is not saved: the secrets of a key exchange are nowhere but in memory,
and who comes back without an IKE SA begins with INITIAL_CONTACT (RFC 7296, 2.4). What the peer has
half made is left out: its next key exchange gets STATE_NOT_FOUND, and it begins that anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from ipaddress import ip_address
from typing import Any, Final

from plutino.ike.abilities import Abilities
from plutino.ike.child import Child, ChildKeys, ChildState
from plutino.ike.config import PeerConfig
from plutino.ike.crypto.keymat import Exchanged, IkeKeys
from plutino.ike.errors import PeerError
from plutino.ike.exchanges.delete import DeleteChild, DeleteIke, Liveness
from plutino.ike.exchanges.exchange import Exchange
from plutino.ike.exchanges.followup import FollowupKe
from plutino.ike.exchanges.mobike import CheckMapping, CheckReturn, UpdateAddresses
from plutino.ike.exchanges.own_addresses import TellAddresses
from plutino.ike.exchanges.window_size import SetWindow
from plutino.ike.keys import CombinedCipher, IkeSuite, SessionKeys
from plutino.ike.numbers import Protocol
from plutino.ike.path import Path, SocketAddress
from plutino.ike.payloads.proposal import Transform
from plutino.ike.payloads.traffic_selector import TrafficSelector
from plutino.ike.proposals import Chosen
from plutino.ike.schedule import Schedule, due_at
from plutino.ike.session import Session
from plutino.ike.state import SessionInput, SessionState
from plutino.ike.surroundings import Surroundings
from plutino.ike.window import Outstanding
from plutino.model.policy import Mode
from plutino.model.secret import Secret

VERSION: Final = 1
_IV_SKIP: Final = 1 << 32
"""So many IVs are left out, more than can have been used since the IKE SA was saved."""
_CHECKS_WITHIN: Final = 5.0
"""Seconds in which all that were silent for too long are asked whether they live."""
_Kept = Liveness | CheckMapping | CheckReturn | SetWindow | TellAddresses
_EXCHANGES: Final[Mapping[str, type[_Kept]]] = {
    "liveness": Liveness,
    "check-mapping": CheckMapping,
    "check-return": CheckReturn,
    "set-window": SetWindow,
    "tell-addresses": TellAddresses,
}
_SAVED_CHILDREN: Final = frozenset(
    {ChildState.INSTALLED, ChildState.REPLACED, ChildState.DELETING, ChildState.STRAGGLING}
)
_NOT_TO_BE_FORGOTTEN: Final = (FollowupKe, UpdateAddresses, DeleteIke)
"""What waits for its turn and cannot be asked for once more out of what is saved."""

Document = dict[str, Any]


class SavedStateError(Exception):
    """What was saved cannot be used; the words say why."""


def save(session: Session) -> bytes | None:
    """All of an IKE SA; None while it cannot be taken up again by another process."""
    related = session.predecessor is not None or session.successor is not None
    is_unproved = session.unproved_from is not None
    if session.state is not SessionState.ESTABLISHED or related or is_unproved:
        return None
    if any(isinstance(one, _NOT_TO_BE_FORGOTTEN) for one in session.queue):
        return None
    waiting = [_waiting(one) for one in session.window.waiting.values()]
    children = [one for one in session.children if one.is_usable]
    if None in waiting or not _SAVED_CHILDREN.issuperset(one.state for one in children):
        return None
    deletes = (one.child for one in session.queue if isinstance(one, DeleteChild))
    queued = (one.spi_in for one in deletes if one in children)  # it may have gone meanwhile
    document: Document = {
        "version": VERSION,
        "peer": session.peer.name,
        "is_initiator": session.is_initiator,
        "may_move": session.may_move,
        "path": [str(part) for end in session.path for part in end],
        "times": [session.began, session.created, session.established_at],
        "abilities": _fields(session.abilities)
        | {"signature_hashes": _listed(session.abilities.signature_hashes)},
        "schedule": _fields(session.schedule),
        **_saved_keys(session.session_keys),
        "window": [session.window.next_id, session.window.size],
        "waiting": waiting,
        "responses": [session.responses.size, session.responses.next_id],
        "answers": [[id_, _hex(*parts)] for id_, parts in session.responses.answers.items()],
        "children": [_saved_child(one) for one in children],
        "deletes": _hex(*queued),
        "seen_as": None if session.seen_as is None else session.seen_as.hex(),
        "first_port": session.first_port,
        "peer_addresses": [str(one) for one in session.peer_addresses],
    }
    return json.dumps(document, separators=(",", ":")).encode()


def restore(
    octets: bytes, peers: Mapping[str, PeerConfig], surroundings: Surroundings, now: float
) -> Session:
    """The IKE SA as it was; what fell due meanwhile is due now.

    Raises SavedStateError for another version's, or for a peer or a child that is configured no
    more. The octets have to be authentic.
    """
    try:
        document: Document = json.loads(octets)
        if document["version"] != VERSION:
            raise SavedStateError(f"another version of plutino saved it ({document['version']})")
        peer = peers[document["peer"]]
        return _restored(document, peer, surroundings, now)
    except (PeerError, LookupError, TypeError, ValueError) as error:
        raise SavedStateError(f"it lacks something: {error!r}") from error


def _restored(
    document: Document, peer: PeerConfig, surroundings: Surroundings, now: float
) -> Session:
    here, here_port, there, there_port = document["path"]
    path = Path(
        SocketAddress(ip_address(here), int(here_port)),
        SocketAddress(ip_address(there), int(there_port)),
    )
    began, created, established_at = document["times"]
    session = Session(surroundings, path, (peer,), is_initiator=False, now=created)
    session.is_initiator = document["is_initiator"]
    session.may_move = document["may_move"]
    session.set_keys(_restored_keys(document, is_initiator=session.is_initiator))
    exchanged = session.session_keys.exchanged
    session.initiator_spi = exchanged.initiator_spi
    session.responder_spi = exchanged.responder_spi
    session.advance(SessionInput.KEYS)
    session.advance(SessionInput.AUTHENTICATED)
    session.began, session.established_at = began, established_at
    hashes = document["abilities"].pop("signature_hashes")
    session.abilities = Abilities(
        **document["abilities"], signature_hashes=None if hashes is None else frozenset(hashes)
    )
    session.seen_as = None if document["seen_as"] is None else bytes.fromhex(document["seen_as"])
    session.first_port = document["first_port"]
    session.peer_addresses = tuple(map(ip_address, document.get("peer_addresses", ())))
    session.children.extend(_restored_child(one, peer) for one in document["children"])
    session.schedule = _restored_schedule(document["schedule"], session, now)
    session.window.next_id, session.window.size = document["window"]
    for one in document["waiting"]:
        outstanding = _restored_waiting(one, session, now)
        session.window.waiting[outstanding.message_id] = outstanding
    session.responses.size, session.responses.next_id = document["responses"]
    for id_, parts in document["answers"]:
        session.responses.answers[id_] = tuple(map(bytes.fromhex, parts))
    by_spi = {one.spi_in.hex(): one for one in session.children}
    session.queue.extend(DeleteChild(by_spi[one]) for one in document["deletes"])
    return session


def _restored_schedule(saved: Document, session: Session, now: float) -> Schedule:
    """Silence while nobody listened tells nothing; all are asked, and not all at once."""
    schedule = Schedule(**saved)
    after = session.peer.liveness_after
    if after is not None and schedule.last_heard + after < now:
        spread = int.from_bytes(session.surroundings.random(2), "big") / 0xFFFF
        schedule.last_heard = now - after + spread * _CHECKS_WITHIN
    if schedule.rekey_at is None:  # it waited for its turn
        schedule.rekey_at = due_at(session.peer.lifetimes, now, session.surroundings.random)
    return schedule


# --- keys


def _saved_keys(keys: SessionKeys) -> Document:
    suite, sk, exchanged = keys.suite, keys.keys, keys.exchanged
    cipher = keys.cipher_out
    return {
        "suite": _saved_transforms(suite.transforms),
        "keys": _hex(sk.d, sk.ai, sk.ar, sk.ei, sk.er, sk.pi, sk.pr),
        "exchanged": _hex(
            exchanged.initiator_nonce,
            exchanged.responder_nonce,
            exchanged.initiator_spi,
            exchanged.responder_spi,
        ),
        "last_iv": cipher.last_iv if isinstance(cipher, CombinedCipher) else None,
    }


def _restored_keys(document: Document, *, is_initiator: bool) -> SessionKeys:
    suite = IkeSuite.of(Chosen(1, Protocol.IKE, b"", _restored_transforms(document["suite"])))
    made = SessionKeys.of(
        suite,
        IkeKeys(*map(bytes.fromhex, document["keys"])),
        Exchanged(*map(bytes.fromhex, document["exchanged"])),
        is_initiator=is_initiator,
    )
    if isinstance(made.cipher_out, CombinedCipher) and document["last_iv"] is not None:
        made.cipher_out.last_iv = document["last_iv"] + _IV_SKIP
    return made


# --- requests


def _waiting(one: Outstanding[Exchange]) -> Document | None:
    """A request that means the same to whoever takes the response; None for another."""
    saved = {
        "message_id": one.message_id,
        "payloads": _hex(*one.payloads),
        "due": one.due,
        "tries": one.tries,
    }
    if isinstance(one.exchange, DeleteChild):
        return saved | {"kind": "delete-child", "child": one.exchange.child.spi_in.hex()}
    kinds = (name for name, kind in _EXCHANGES.items() if isinstance(one.exchange, kind))
    kind = next(kinds, None)
    return None if kind is None else saved | {"kind": kind}


def _restored_waiting(saved: Document, session: Session, now: float) -> Outstanding[Exchange]:
    """With all its tries: a silence that nobody has listened to tells nothing."""
    exchange: Exchange
    if saved["kind"] == "delete-child":
        spi = bytes.fromhex(saved["child"])
        exchange = DeleteChild(next(one for one in session.children if one.spi_in == spi))
    else:
        exchange = _EXCHANGES[saved["kind"]]()
    payloads = tuple(map(bytes.fromhex, saved["payloads"]))
    return Outstanding(exchange, saved["message_id"], payloads, min(saved["due"], now))


# --- children


def _saved_child(child: Child) -> Document:
    chosen = child.chosen
    return {
        "name": child.config.name,
        "spis": _hex(child.spi_in, child.spi_out, chosen.spi, child.lowest_nonce),
        "chosen": [chosen.number, chosen.protocol],
        "transforms": _saved_transforms(chosen.transforms.values()),
        "keys": _hex(child.keys.inbound.reveal(), child.keys.outbound.reveal()),
        "local": [*map(_saved_selector, child.local)],
        "remote": [*map(_saved_selector, child.remote)],
        "mode": child.mode.name,
        "state": child.state.name,
        "created": child.created,
        "flags": [child.outbound, child.replaced],
        "times": [child.rekey_at, child.outbound_at, child.straggling_until],
    }


def _restored_child(saved: Document, peer: PeerConfig) -> Child:
    spi_in, spi_out, spi, nonce = map(bytes.fromhex, saved["spis"])
    transforms = _restored_transforms(saved["transforms"])
    number, protocol = saved["chosen"]
    inbound, outbound = (Secret(bytes.fromhex(one)) for one in saved["keys"])
    child = Child(
        peer.child(saved["name"]),
        spi_in,
        spi_out,
        Chosen(number, protocol, spi, transforms),
        ChildKeys(inbound, outbound),
        tuple(_restored_selectors(saved["local"])),
        tuple(_restored_selectors(saved["remote"])),
        Mode[saved["mode"]],
        saved["created"],
        nonce,
        state=ChildState[saved["state"]],
    )
    child.outbound, child.replaced = saved["flags"]
    child.rekey_at, child.outbound_at, child.straggling_until = saved["times"]
    return child


def _saved_transforms(transforms: Iterable[Transform]) -> list[list[int | None]]:
    return [[one.type, one.id, one.key_bits] for one in transforms]


def _restored_transforms(saved: list[Any]) -> dict[int, Transform]:
    return {type_: Transform(type_, id_, bits) for type_, id_, bits in saved}


def _saved_selector(one: TrafficSelector) -> list[str | int]:
    return [str(one.first), str(one.last), one.protocol, one.first_port, one.last_port]


def _restored_selectors(saved: list[list[Any]]) -> Iterator[TrafficSelector]:
    for first, last, *rest in saved:
        yield TrafficSelector(ip_address(first), ip_address(last), *rest)


def _fields(value: Abilities | Schedule) -> Document:
    """As ``asdict`` gives them, which copies each value first: these are plain."""
    return {one: getattr(value, one) for one in _NAMES[type(value)]}


_NAMES: Final = {kind: [one.name for one in fields(kind)] for kind in (Abilities, Schedule)}


def _hex(*octets: bytes) -> list[str]:
    return [one.hex() for one in octets]


def _listed(hashes: frozenset[int] | None) -> list[int] | None:
    return None if hashes is None else sorted(hashes)
