"""IKE by the engine's port 4500 goes on when engine, IKE process or daemon are others."""

import os
import signal
from ipaddress import ip_address

import pytest

from plutino.control.report import State
from plutino.lab.demo import BERLIN, INNER
from plutino.lab.hosts import Host
from plutino.lab.traffic import ping
from tests.support.fault_stream import state_of
from tests.support.ike_lab import ike_pair, ike_processes, passes, spis, until_it_passes
from tests.support.lab import Pair
from tests.support.until import until

pytestmark = pytest.mark.root


def engine_pid(host: Host) -> int:
    report = host.status()
    assert report is not None
    assert report.engine is not None
    return report.engine.pid


def kill_engine(host: Host) -> None:
    before = engine_pid(host)
    os.kill(before, signal.SIGKILL)
    until(lambda: state_of(host) is State.UP and engine_pid(host) != before, "another engine")


def kill_ike_process(host: Host) -> None:
    (before,) = ike_processes(host)
    os.kill(int(before.name), signal.SIGKILL)
    until(lambda: any(one != before for one in ike_processes(host)), "another IKE process")


def kill_daemon(host: Host) -> None:
    assert host.daemon is not None
    host.daemon.kill()
    host.daemon.wait()
    host.start_daemon()
    host.wait_until_up()


def until_other_keys(pair: Pair, before: set[str]) -> None:
    """Berlin asks for them after so many packets."""

    def has_others() -> bool:
        ping(pair.paris.namespace, ip_address(INNER[BERLIN][0]), count=60)
        return not spis(pair.berlin) & before

    until(has_others, "new keys", seconds=60)


def test_the_peer_gets_new_keys_whoever_was_killed() -> None:
    """The peer asks for them, so it has to be heard."""
    paris, berlin = 'start = "listen"', 'rekey-packets = 100\nesp-proposals = ["aes256gcm16-noesn"]'
    with ike_pair("userspace", encapsulation="udp", paris=paris, berlin=berlin) as pair:
        until_it_passes(pair)
        for kill in (kill_engine, kill_ike_process, kill_daemon):
            kill(pair.paris)
            before = spis(pair.berlin)
            until(lambda: passes(pair.paris), f"it passes after {kill.__name__}")
            until_other_keys(pair, before)
            assert passes(pair.paris)
            assert spis(pair.paris) & spis(pair.berlin) - before
        assert "the IKE SA has ended" not in pair.paris.log.read_text()
