"""The loop around the sans-IO core: what it is told and what comes in, and then the outcome."""

import os
import selectors
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Final

from plutino.ike.endpoint import Endpoint
from plutino.ike.events import IkeClosed, IkeEstablished, Refused, SaAwaited, UseWanted
from plutino.ike.keys import SessionKeys
from plutino.ike.saved import SavedStateError
from plutino.ike.turns import Turn
from plutino.ike.wireshark import table_line
from plutino.ike_process.child_sas import child_sa
from plutino.ike_process.collector import spare_what_is_there
from plutino.ike_process.commands import (
    Acquire,
    Adopt,
    Ask,
    Command,
    FollowMapping,
    GoBy,
    KeepUp,
    LetDown,
    NoteUse,
    Rekey,
    SetOwnAddresses,
    SetPeers,
    TakeAnswer,
    decode_commands,
)
from plutino.ike_process.framing import CHUNK, Frames, frame
from plutino.ike_process.outcome import (
    AwaitedSa,
    Notice,
    NoticeKind,
    OcspQuery,
    Outcome,
    SavedState,
    encode_outcome,
)
from plutino.ike_process.receiving import ROW, Rows, Source
from plutino.ike_process.sa_states import ike_sa_state
from plutino.ike_process.waiting_room import MOST_REFUSED, WaitingRoom
from plutino.model.child_sa import ChildSa

_LONGEST_NAME: Final = 64
_ROWS_AT_ONCE: Final = 8
"""Read from a socket before others have their turn."""
_STRANGERS_AT_ONCE: Final = 32
"""Served before sockets are looked at again for those who have an IKE SA."""
_GATHER: Final = 0.003
"""Seconds between two tellings: of many that follow each other most of the cost is each one's own.
"""
DONE: Final = b"done"


class Worker:
    """Serves one gateway until the daemon's end of ``pipe`` is closed.

    ``descriptors`` brings sockets: a datagram ``SOURCE PORT`` with one; or without, to close
    it, which is answered when that is done. All that has come is read before anything of those who
    have no IKE SA is served, so that they keep nobody else from being heard.
    """

    def __init__(self, pipe: socket.socket, descriptors: socket.socket, *, note_keys: bool) -> None:
        self._pipe = pipe
        self._descriptors = descriptors
        self._frames = Frames()
        self._room = memoryview(bytearray(CHUNK))
        self._sockets: dict[tuple[Source, int], socket.socket] = {}
        self._rows = Rows()
        self._strangers = WaitingRoom()
        self._selector = selectors.DefaultSelector()
        self._is_over = False
        self._children: dict[str, tuple[ChildSa, ...]] = {}
        self._touched: set[str] = set()
        self._notices: list[Notice] = []
        self._unusable: list[SavedState] = []
        self._kept: set[tuple[str, bytes]] = set()
        self._key_lines: list[str] = []
        self._answered = 0
        self._endpoint = Endpoint(
            (),
            random=os.urandom,
            date=_date,
            note_keys=self._note_keys if note_keys else None,
        )

    def run(self) -> None:
        """Until the daemon is gone."""
        self._selector.register(self._pipe, selectors.EVENT_READ, self._read_commands)
        self._selector.register(self._descriptors, selectors.EVENT_READ, self._read_descriptor)
        told_at, is_told = float("-inf"), True
        while not self._is_over:
            due = self._next_timer()
            if not is_told:
                due = told_at + _GATHER if due is None else min(due, told_at + _GATHER)
            wait = None if due is None else max(due - time.monotonic(), 0.0)
            wait = 0.0 if self._strangers else wait
            for key, _ in self._selector.select(wait):
                if key.fd in self._selector.get_map():  # it may have been closed by one before
                    key.data()
            self._serve_strangers()
            now = time.monotonic()
            self._look_after_timers(now)
            is_told = self._is_over or now >= told_at + _GATHER
            if is_told:
                self._tell()
                told_at = now

    def _next_timer(self) -> float | None:
        """None without a socket: nobody is heard then, and no silence tells anything.

        A new daemon brings sockets after its first pass, which may take longer than peers have.
        """
        return self._endpoint.next_timer() if self._sockets else None

    def _look_after_timers(self, now: float) -> None:
        if self._sockets:
            self._endpoint.handle_timer(now)

    # What comes in ------------------------------------------------------------------------------

    def _read_commands(self) -> None:
        length = self._pipe.recv_into(self._room)
        self._is_over = not length
        for message in self._frames.feed(self._room[:length]):
            for command in decode_commands(message):
                self._do(command, time.monotonic())

    def _read_descriptor(self) -> None:
        request, given, _flags, _address = socket.recv_fds(self._descriptors, _LONGEST_NAME, 1)
        if not request:
            self._is_over = True
            return
        number, port = map(int, request.split())
        source = Source(number)
        self._close(source, port)
        for one in given:
            opened = self._sockets[source, port] = socket.socket(fileno=one)
            reader = partial(self._hear, opened, source, port)
            self._selector.register(opened, selectors.EVENT_READ, reader)
        if not given:
            self._descriptors.send(DONE)

    def _close(self, source: Source, port: int) -> None:
        old = self._sockets.pop((source, port), None)
        if old is not None:
            self._selector.unregister(old)
            old.close()

    def _hear(self, opened: socket.socket, source: Source, port: int) -> None:
        """Whatever has come to a socket."""
        for _ in range(_ROWS_AT_ONCE):
            try:
                count, row = self._rows.read(opened, source, port)
            except EOFError:  # the daemon brings one of another engine
                self._close(source, port)
                return
            now = time.monotonic()
            for came in row:
                match self._endpoint.turn_of(came.payload, came.ends, now):
                    case Turn.AT_ONCE:
                        self._endpoint.receive(came.payload, came.path, now)
                    case Turn.LATER:
                        self._strangers.enter(came)
                    case Turn.REFUSAL:
                        self._strangers.enter(came, MOST_REFUSED)
            if count < ROW:
                return

    def _serve_strangers(self) -> None:
        for _ in range(_STRANGERS_AT_ONCE):
            if (came := self._strangers.next()) is None:
                return
            self._endpoint.receive(came.payload, came.path, time.monotonic())

    def _do(self, command: Command, now: float) -> None:
        endpoint = self._endpoint
        match command:
            case SetPeers():
                self._set_peers(command, now)
            case Adopt(peer=peer, spi=spi, saved=saved):
                try:
                    endpoint.adopt(saved, now)
                except SavedStateError as error:
                    self._notices.append(Notice(NoticeKind.NOT_ADOPTED, peer, str(error)))
                    self._unusable.append(SavedState(peer, spi, None))
                else:
                    self._kept.add((peer, spi))
            case Rekey(spi=spi):
                endpoint.rekey_child(spi, now)
            case FollowMapping(spi_in=spi, remote=remote):
                endpoint.follow_mapping(spi, remote, now)
            case NoteUse(peer=peer, uses=uses):
                endpoint.note_use(peer, uses, now)
            case TakeAnswer(question=question, response=response):
                endpoint.take_answer(question, response, now)
            case Ask(number=number):
                self._answered = number
            case KeepUp() | Acquire() | GoBy() | SetOwnAddresses() | LetDown():
                if command.peer in endpoint.peers:
                    self._do_to_peer(command, now)

    def _do_to_peer(
        self, command: KeepUp | Acquire | GoBy | SetOwnAddresses | LetDown, now: float
    ) -> None:
        endpoint = self._endpoint
        match command:
            case KeepUp(peer=peer, path=path, children=children):
                endpoint.keep_up(peer, path, children, now)
            case Acquire(peer=peer, child=child, path=path):
                endpoint.acquire(peer, child, path, now)
            case GoBy(peer=peer, path=path, lost=lost):
                endpoint.go_by(peer, path, lost, now)
            case SetOwnAddresses(peer=peer, addresses=addresses):
                endpoint.set_own_addresses(peer, addresses, now)
            case LetDown(peer=peer):
                endpoint.let_down(peer, now)

    def _set_peers(self, command: SetPeers, now: float) -> None:
        before, after = self._endpoint.peers, {peer.name: peer for peer in command.peers}
        for name, peer in before.items():
            if after.get(name) != peer:
                self._endpoint.let_down(name, now)
                self._touched.add(name)
        self._endpoint.set_peers(command.peers)
        spare_what_is_there()

    def _note_keys(self, keys: SessionKeys) -> None:
        line = table_line(keys)
        if line is not None:
            self._key_lines.append(line)

    # What goes out ------------------------------------------------------------------------------

    def _tell(self) -> None:
        outcome = self._outcome()
        if outcome != Outcome(open=outcome.open):
            with suppress(BrokenPipeError, ConnectionResetError):  # run() sees the end as well
                self._pipe.sendall(frame(encode_outcome(outcome)))

    def _outcome(self) -> Outcome:
        endpoint = self._endpoint
        saved = endpoint.states_to_save()
        touched = {peer for peer, _ in saved} | self._touched
        notices, self._notices = self._notices, []
        unusable, self._unusable = self._unusable, []
        key_lines, self._key_lines = self._key_lines, []
        answered, self._answered = self._answered, 0
        self._touched = set()
        events = endpoint.next_events()
        notices += [one for one in map(_notice, events) if one is not None]
        children: dict[str, tuple[ChildSa, ...]] = {}
        for peer in touched:
            now = tuple(map(child_sa, endpoint.child_sas_of(peer)))
            if now != self._children.get(peer, ()):
                self._children[peer] = children[peer] = now
        return Outcome(
            questions=tuple(
                OcspQuery(peer, one.url, one.request) for peer, one in endpoint.questions_to_ask()
            ),
            datagrams=tuple(endpoint.datagrams_to_send()),
            children=children,
            awaited=tuple(_awaited(one) for one in events if isinstance(one, SaAwaited)),
            unheard=tuple(one.peer for one in events if isinstance(one, UseWanted)),
            saved=(*unusable, *self._news_of(saved)),
            notices=tuple(notices),
            ike_sas={peer: ike_sa_state(endpoint.sessions_of(peer)) for peer in touched},
            key_lines=tuple(key_lines),
            answered=answered,
            open=len(endpoint.sessions),
        )

    def _news_of(self, saved: Mapping[tuple[str, bytes], bytes | None]) -> Iterator[SavedState]:
        """What is not to be kept, and never was, is none."""
        for key, octets in saved.items():
            if octets is not None:
                self._kept.add(key)
            elif key in self._kept:
                self._kept.remove(key)
            else:
                continue
            yield SavedState(*key, octets)


def _awaited(event: SaAwaited) -> AwaitedSa:
    local, remote = event.path
    spi = int.from_bytes(event.spi_in, "big")
    return AwaitedSa(event.peer, local.address, remote.address, spi, event.udp)


def _notice(event: object) -> Notice | None:
    match event:
        case IkeEstablished(peer=peer, replaces=None):
            return Notice(NoticeKind.UP, peer)
        case IkeClosed(peer=peer, reason=reason, has_successor=False):
            return Notice(NoticeKind.ENDED, peer, reason)
        case Refused(peer=peer, reason=reason):
            return Notice(NoticeKind.REFUSED, peer, reason)
    return None


def _date() -> datetime:
    return datetime.now(UTC)
