"""What the IKE process has the daemon keep, and what it lets go of."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path as FilePath
from socket import socketpair

from plutino.config.files import LoadedGateway, SharedKeys
from plutino.config.load import load_text
from plutino.daemon.ike_peers import peers_of
from plutino.ike.exchanges.delete import Liveness
from plutino.ike.path import Path, first_path
from plutino.ike.saved import save
from plutino.ike_process.commands import Adopt, KeepUp, LetDown, SetPeers
from plutino.ike_process.outcome import SavedState
from plutino.ike_process.receiving import Source
from plutino.ike_process.worker import Worker
from plutino.model.secret import Secret

TEXT = """
[tunnels.t]
interface = "ipsec1"
local = "{}"
remote = "{}"
ike.psk-file = "t.psk"
"""
ENDS = "192.0.2.1", "192.0.2.2"


@contextmanager
def worker(local: str, remote: str) -> Iterator[Worker]:
    """That knows one peer; nobody reads its pipe."""
    gateway = load_text(TEXT.format(local, remote), "gateway.toml")
    keys = SharedKeys(Secret(b"a key"), Secret(b"a key"))
    loaded = LoadedGateway(gateway, FilePath("gateway.toml"), {}, {"t": keys})
    with ExitStack() as stack:
        (pipe, _), (descriptors, _) = pairs = socketpair(), socketpair()
        for one in (*pairs[0], *pairs[1]):
            stack.enter_context(one)
        made = Worker(pipe, descriptors, note_keys=False)
        made._do(SetPeers(tuple(peers_of(loaded))), time.monotonic())
        yield made


def until_silent(*workers: Worker) -> list[list[SavedState]]:
    """All that each of the two wants kept, one after another, until none has more to say."""
    kept: list[list[SavedState]] = [[], []]
    is_silent = False
    while not is_silent:
        is_silent = True
        for place, one in enumerate(workers):
            outcome = one._outcome()
            kept[place] += outcome.saved
            for datagram in outcome.datagrams:
                is_silent = False
                here, there = datagram.path
                other = workers[1 - place]._endpoint
                other.receive(datagram.payload, Path(there, here), time.monotonic())
    return kept


def test_only_what_was_kept_is_let_go_of() -> None:
    with worker(*ENDS) as west, worker(*reversed(ENDS)) as east:
        (peer,) = west._endpoint.peers.values()
        assert peer.local is not None
        keep_up = KeepUp("t", first_path(peer.local, peer.remotes[0]), ("t",))
        west._do(keep_up, time.monotonic())
        kept = until_silent(west, east)
        for several in kept:
            assert several
            assert all(one.octets for one in several)
        west._do(LetDown("t"), time.monotonic())
        for before, after in zip(kept, until_silent(west, east), strict=True):
            assert after[-1] == SavedState("t", before[-1].spi, None)


def test_what_was_taken_up_is_let_go_of_as_well() -> None:
    with worker(*ENDS) as west, worker(*reversed(ENDS)) as east, worker(*ENDS) as after:
        (peer,) = west._endpoint.peers.values()
        assert peer.local is not None
        keep_up = KeepUp("t", first_path(peer.local, peer.remotes[0]), ("t",))
        west._do(keep_up, time.monotonic())
        ((*_, last), _) = until_silent(west, east)
        assert last.octets is not None
        after._do(Adopt("t", last.spi, last.octets), time.monotonic())
        after._do(LetDown("t"), time.monotonic())
        ((*_, gone), _) = until_silent(after, east)
        assert gone == SavedState("t", last.spi, None)


def test_nobody_is_asked_before_anybody_can_be_heard() -> None:
    """The first pass of a daemon may take longer than a peer has to answer."""
    with worker(*ENDS) as west, worker(*reversed(ENDS)) as east, worker(*ENDS) as after:
        (peer,) = west._endpoint.peers.values()
        assert peer.local is not None
        keep_up = KeepUp("t", first_path(peer.local, peer.remotes[0]), ("t",))
        west._do(keep_up, time.monotonic())
        until_silent(west, east)
        (session,) = west._endpoint.sessions.values()
        session.enqueue(Liveness(), time.monotonic())
        session.pump(time.monotonic())
        now = time.monotonic()
        saved = save(session)
        assert saved is not None
        after._do(Adopt("t", session.initiator_spi, saved), now)
        after._look_after_timers(now)
        assert not after._outcome().datagrams
        ours, its = socketpair()
        with ours, its:
            after._sockets[Source.ENGINE, 500] = ours
            after._look_after_timers(now)
            assert after._outcome().datagrams
