"""A daemon that is restarted or killed goes on with its IKE SAs, under traffic."""

import os
import signal
from ipaddress import ip_address
from pathlib import Path

import pytest

from plutino.control.report import StatusReport
from plutino.lab.demo import BERLIN, INNER
from plutino.lab.hosts import Host
from plutino.lab.traffic import ping
from tests.support.exhaustive import EXHAUSTIVE
from tests.support.ike_lab import PSK, ike_pair, passes, spis, until_it_passes
from tests.support.until import until

pytestmark = pytest.mark.root

ENDS = [("esp", signal.SIGKILL), ("udp", signal.SIGTERM)]
if EXHAUSTIVE:
    ENDS += [("esp", signal.SIGTERM), ("udp", signal.SIGKILL)]


def report_of(host: Host) -> StatusReport:
    report = host.status()
    assert report is not None
    return report


def saved(host: Host) -> list[Path]:
    return list((host.folder / "state" / "default" / "ike").glob("*"))


def end(host: Host, number: signal.Signals) -> None:
    assert host.daemon is not None
    host.daemon.send_signal(number)
    host.daemon.wait(20)


@pytest.mark.parametrize(("encapsulation", "number"), ENDS)
def test_it_goes_on_where_it_was(plane: str, encapsulation: str, number: signal.Signals) -> None:
    with ike_pair(plane, encapsulation=encapsulation) as pair:
        until_it_passes(pair)
        before = spis(pair.paris)
        for host in (pair.paris, pair.berlin):
            end(host, number)
            assert ping(pair.paris.namespace, ip_address(INNER[BERLIN][0]), count=20)[0] == 20
            host.start_daemon()
            host.wait_until_up()
            assert ping(pair.paris.namespace, ip_address(INNER[BERLIN][0]), count=20)[0] == 20
            assert spis(host) == before
            assert "the IKE SA is up" not in host.last_words().rpartition("ready: ")[2]
        # It is alive: what one end deletes, the other lets go of.
        assert pair.berlin.plutino("down").returncode == 0
        until(lambda: not spis(pair.paris), "Paris has heard that Berlin is gone")
        assert not saved(pair.berlin)
        pair.assert_nothing_in_clear()


def test_without_their_daemon_sas_are_left_alone(plane: str) -> None:
    with ike_pair(plane) as pair:
        until_it_passes(pair)
        before = spis(pair.paris)
        end(pair.paris, signal.SIGKILL)
        for command in ("plan", "apply"):
            done = pair.paris.plutino(command, pair.paris.file)
            assert done.returncode == 1
            assert "has SAs by IKE, and the daemon that made them does not run" in done.stderr
            assert ping(pair.paris.namespace, ip_address(INNER[BERLIN][0]), count=20)[0] == 20
        told = pair.paris.plutino("status", pair.paris.file)
        assert told.returncode == 3
        assert all(spi in told.stdout for spi in before)
        pair.paris.start_daemon()
        pair.paris.wait_until_up()
        assert spis(pair.paris) == before
        pair.assert_nothing_in_clear()


def test_it_rekeys_after_a_restart(plane: str) -> None:
    own = "rekey-after = 10\nrekey-jitter = 0.5"
    with ike_pair(plane, paris=own) as pair:
        until_it_passes(pair)
        before = spis(pair.paris)
        end(pair.paris, signal.SIGKILL)
        pair.paris.start_daemon()
        pair.paris.wait_until_up()
        sent = received = 0
        while spis(pair.paris) & before:
            received += ping(pair.paris.namespace, ip_address(INNER[BERLIN][0]), count=50)[0]
            sent += 50
        assert received == sent
        pair.assert_nothing_in_clear()


def test_files_are_closed_to_others_and_of_no_use_without_the_key(plane: str) -> None:
    with ike_pair(plane) as pair:
        until_it_passes(pair)
        (file,) = saved(pair.paris)
        before = file.read_bytes()
        key = pair.paris.folder / "run" / "default" / "ike.key"
        assert [one.stat().st_mode & 0o077 for one in (file, key)] == [0, 0]
        assert b"peer" not in file.read_bytes()
        assert PSK.strip().encode() not in file.read_bytes()
        end(pair.paris, signal.SIGKILL)
        key.write_bytes(os.urandom(32))
        pair.paris.start_daemon()
        pair.paris.wait_until_up()
        assert "its saved IKE SA cannot be used" in pair.paris.last_words()
        until(lambda: passes(pair.paris), "with a new one it passes")
        (file,) = saved(pair.paris)
        assert file.read_bytes()
        assert before[-64:] not in file.read_bytes(), "nothing is left of the old one"
        pair.assert_nothing_in_clear()


def test_another_configuration_begins_anew(plane: str) -> None:
    with ike_pair(plane) as pair:
        until_it_passes(pair)
        before = spis(pair.paris)
        end(pair.paris, signal.SIGTERM)
        text = pair.paris.file.read_text()
        pair.paris.file.write_text(f"{text}rekey-after = 1000\n")
        pair.paris.start_daemon()
        pair.paris.wait_until_up()
        until(lambda: passes(pair.paris), "it passes")
        assert not spis(pair.paris) & before
        pair.assert_nothing_in_clear()
