"""The kernel as data plane, as its users see it: demo, `ip`, foreign objects, refusals, faults."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from plutino.config.static_keys import encode_keys, generate_pair
from plutino.control.report import State
from plutino.dataplane.held_sockets import HeldSockets, holder_pids
from plutino.desired.sas import tunnel_reqid
from plutino.lab.demo import BERLIN
from plutino.lab.hosts import Host, plutino_program
from plutino.model.feature import Feature
from tests.support.exhaustive import EXHAUSTIVE
from tests.support.fault_stream import Stream, state_of
from tests.support.ike_lab import ike_pair, until_it_passes
from tests.support.ip_command import ip_line
from tests.support.kernel_pair import FOREIGN, pings
from tests.support.lab import Pair, running_pair
from tests.support.until import until

pytestmark = pytest.mark.guest

FORMS = [(4, "esp"), (6, "udp"), *([(6, "esp"), (4, "udp")] if EXHAUSTIVE else [])]
OUT = "src 192.0.2.1 dst 192.0.2.2"
IN = "src 192.0.2.2 dst 192.0.2.1"


@pytest.fixture(scope="module")
def shared() -> Iterator[Pair]:
    with running_pair(plane="kernel") as pair:
        yield pair


@pytest.fixture
def pair(shared: Pair) -> Iterator[Pair]:
    """A pair that is whole before the test and after it, and nothing in clear meanwhile."""
    until(lambda: state_of(shared.paris) is State.UP, "whole before")
    yield shared
    until(lambda: state_of(shared.paris) is State.UP, "whole after")
    assert pings(shared)
    shared.assert_nothing_in_clear()


@pytest.mark.parametrize(("family", "encapsulation"), FORMS)
def test_every_form_of_the_demo_passes(family: int, encapsulation: str) -> None:
    command: list[str | Path] = [plutino_program(), "demo", "--json", "--plane", "kernel"]
    command += ["--family", str(family), "--encapsulation", encapsulation]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert len(report["checks"]) == 10
    assert all(check["passed"] for check in report["checks"])
    assert report["status"]["paris"]["plane"] == "kernel"
    assert report["status"]["paris"]["engine"] is None


@pytest.mark.parametrize(("family", "encapsulation"), [(4, "esp"), (6, "udp")])
def test_the_kernel_and_the_engine_understand_each_other(family: int, encapsulation: str) -> None:
    command: list[str | Path] = [plutino_program(), "demo", "--json", "--plane", "kernel"]
    command += ["--peer-plane", "userspace"]
    command += ["--family", str(family), "--encapsulation", encapsulation]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    status = json.loads(done.stdout)["status"]
    assert (status["paris"]["plane"], status["berlin"]["plane"]) == ("kernel", "userspace")


def test_auto_takes_this_kernel_and_doctor_says_so() -> None:
    program = plutino_program()
    done = subprocess.run([program, "doctor", "--json"], capture_output=True, text=True, check=True)
    report = json.loads(done.stdout)
    missing = {one["feature"] for one in report["features"] if not one["supported"]}
    assert missing <= {Feature.IPTFS, Feature.MIGRATE_STATE}, report
    assert report["choice"]["plane"] == "kernel"


def test_ip_shows_exactly_what_was_meant(pair: Pair) -> None:
    link = ip_line(pair.paris, "-d link show ipsec1")
    for words in ("xfrm if_id 0x1", "mtu 1446", "alias plutino:default", "UP", "addrgenmode none"):
        assert words in link
    assert ip_line(pair.paris, "address show dev ipsec1").count("inet6 fe80") == 1
    keys = pair.keys(pair.paris)
    states = ip_line(pair.paris, "-d xfrm state")
    assert states.count("proto esp") == 2
    outbound = next(one for one in re.split("(?=src 192)", states) if one.startswith(OUT))
    inbound = next(one for one in re.split("(?=src 192)", states) if one.startswith(IN))
    for one, key in ((outbound, keys.outbound), (inbound, keys.inbound)):
        assert f"spi {key.spi}" in one
        assert f"reqid {int(tunnel_reqid('default', BERLIN))} " in one
        for words in ("mode tunnel", "flag af-unspec", "esn", "if_id 0x1", "rfc4106(gcm(aes))"):
            assert words in one
        assert f"0x{key.keymat.reveal().hex()} 128" in one
    assert "output-mark 0x1/0xffff" in outbound
    assert "output-mark" not in inbound
    assert "replay_window 1024" in inbound
    policies = ip_line(pair.paris, "-d xfrm policy")
    for direction, ends in (("out", OUT), ("in", IN), ("fwd", IN)):
        assert policies.count(f"dir {direction} ") == 2  # one for each inner family
        assert f"tmpl {ends} proto esp" in policies
    assert policies.count("if_id 0x1") == policies.count("mode tunnel") == 6


@pytest.mark.parametrize("family", [4, 6])
def test_down_leaves_no_larval_sa(family: int) -> None:
    """The kernel makes one for a packet without SA, and would keep it for 30 s."""
    with ike_pair("kernel", family, paris='start = "on-traffic"', start=False) as pair:
        pair.paris.start_daemon()
        until(lambda: "ready: " in pair.paris.last_words(), "the policies are there")
        assert not pings(pair)
        assert "spi 0x00000000" in ip_line(pair.paris, "xfrm state")
        assert pair.paris.plutino("down").returncode == 0
        assert ip_line(pair.paris, "xfrm state") == ""


def test_a_second_apply_changes_nothing(pair: Pair) -> None:
    before = ip_line(pair.paris, "xfrm state")
    assert pair.paris.plutino("apply", pair.paris.file).stdout == "nothing to do\n"
    assert pair.paris.plutino("plan", pair.paris.file).stdout == "nothing to do\n"
    assert ip_line(pair.paris, "xfrm state") == before


@pytest.mark.parametrize(
    "fault",
    [
        "link del ipsec1",
        "link set ipsec1 down",
        "link set ipsec1 mtu 1300",
        "link set ipsec1 type xfrm if_id 7",
        "xfrm state flush",
        "xfrm policy flush",
    ],
)
def test_what_others_break_is_healed(pair: Pair, fault: str) -> None:
    ip_line(pair.paris, fault)
    until(lambda: state_of(pair.paris) is State.UP and pings(pair), "it is healed")


def test_the_daemon_is_killed_and_no_packet_is_lost(pair: Pair) -> None:
    before = sorted(re.findall(r"spi 0x\w+", ip_line(pair.paris, "xfrm state")))
    daemon = pair.paris.daemon
    assert daemon is not None
    with Stream(pair) as stream:
        daemon.send_signal(signal.SIGKILL)
        daemon.wait(timeout=10)
        stream.until_it_passes()
        pair.paris.start_daemon()
        pair.paris.wait_until_up()
        stream.until_it_passes()
        assert (stream.lost(), stream.refused) == (set(), 0)
    assert sorted(re.findall(r"spi 0x\w+", ip_line(pair.paris, "xfrm state"))) == before


def test_another_data_plane_is_refused_while_one_serves(pair: Pair) -> None:
    text = pair.paris.file.read_text()
    try:
        pair.paris.file.write_text(text.replace('"kernel"', '"userspace"'))
        done = pair.paris.plutino("apply", pair.paris.file)
    finally:
        pair.paris.file.write_text(text)
    assert done.returncode == 1
    assert "runs on the kernel plane" in done.stderr
    assert "plutino down" in done.stderr


def holders(host: Host) -> list[int]:
    """The processes that hold a host's sockets."""
    with host.namespace.entered():
        return list(holder_pids(host.folder / "run" / "default" / "holder.sock"))


def new_holder(host: Host, before: int) -> int:
    """The process that holds a host's sockets after ``before`` has ended.

    Only once it has them is it the one that stays: it begins as the child of one that ends.
    """

    def has_sockets() -> bool:
        with host.namespace.entered():
            held = HeldSockets(host.folder / "run" / "default" / "holder.sock")
            return before not in holders(host) and bool(held.kinds())

    until(has_sockets, "the daemon starts a new one")
    (after,) = holders(host)
    return after


def kill(daemon: "subprocess.Popen[bytes] | None") -> None:
    assert daemon is not None
    daemon.kill()
    daemon.wait(timeout=10)


def test_udp_survives_the_daemon_and_its_restart() -> None:
    with running_pair(encapsulation="udp", plane="kernel") as pair:
        before = holders(pair.berlin)
        assert len(before) == 1
        with Stream(pair) as stream:
            for host in (pair.berlin, pair.paris):
                kill(host.daemon)
                stream.until_it_passes()
            for host in (pair.berlin, pair.paris):
                host.start_daemon()
                host.wait_until_up()
                stream.until_it_passes()
            assert (stream.lost(), stream.refused) == (set(), 0)
        assert holders(pair.berlin) == before
        assert pair.tap.marked == 0


@pytest.mark.parametrize("family", [4, 6])
def test_udp_needs_no_daemon(family: int) -> None:
    with running_pair(family, encapsulation="udp", plane="kernel", start=False) as pair:
        for host in (pair.paris, pair.berlin):
            done = host.plutino("apply", host.file)
            assert done.returncode == 0, done.stderr
        assert pings(pair)
        before = holders(pair.berlin)
        assert pair.berlin.plutino("apply", pair.berlin.file).stdout == "nothing to do\n"
        assert holders(pair.berlin) == before
        for host in (pair.paris, pair.berlin):
            assert host.plutino("down").returncode == 0
        until(lambda: not holders(pair.paris) + holders(pair.berlin), "no process is left")


def test_udp_heals_when_the_holder_is_killed() -> None:
    with running_pair(encapsulation="udp", plane="kernel") as pair:
        (before,) = holders(pair.berlin)
        os.kill(before, signal.SIGKILL)
        after = new_holder(pair.berlin, before)
        until(lambda: pings(pair), "packets pass again")
        # And without one: it is told, and the next command heals it.
        kill(pair.berlin.daemon)
        os.kill(after, signal.SIGKILL)
        until(lambda: not holders(pair.berlin), "it is dead")
        told = pair.berlin.plutino("status", pair.berlin.file)
        assert told.returncode == 3
        assert "no UDP port 4500 for IPv4 is open" in told.stdout + told.stderr
        assert pair.berlin.plutino("apply", pair.berlin.file).returncode == 0
        assert pings(pair)
        assert pair.berlin.plutino("status", pair.berlin.file).returncode == 0
        assert pair.tap.marked == 0


def test_ike_goes_on_when_the_holder_of_its_port_is_killed() -> None:
    with ike_pair("kernel", encapsulation="udp") as pair:
        until_it_passes(pair)
        (before,) = holders(pair.berlin)
        os.kill(before, signal.SIGKILL)
        new_holder(pair.berlin, before)
        kill(pair.paris.daemon)
        assert pair.paris.plutino("down").returncode == 0
        pair.paris.start_daemon()
        until_it_passes(pair)
        pair.assert_nothing_in_clear()


def test_udp_sockets_go_when_no_tunnel_needs_them() -> None:
    with running_pair(encapsulation="udp", plane="kernel", start=False) as pair:
        text = pair.paris.file.read_text()
        assert pair.paris.plutino("apply", pair.paris.file).returncode == 0
        assert len(holders(pair.paris)) == 1
        pair.paris.file.write_text(text.replace('"udp"', '"esp"'))
        assert pair.paris.plutino("apply", pair.paris.file).returncode == 0
        until(lambda: not holders(pair.paris), "the holder has ended")


def test_udp_sockets_do_not_stay_after_a_first_pass_that_fails() -> None:
    with running_pair(encapsulation="udp", plane="kernel", start=False) as pair:
        ip_line(pair.paris, "link add strange type xfrm if_id 1")
        assert pair.paris.plutino("apply", pair.paris.file).returncode == 1
        until(lambda: not holders(pair.paris), "the holder has ended")


def test_what_others_made_stays_and_ours_goes() -> None:
    with running_pair(plane="kernel", start=False) as pair:
        for command in FOREIGN:
            ip_line(pair.paris, command)
        shows = (
            "link show type xfrm",
            "xfrm state",
            "xfrm policy",
            "route show table all proto 134",
        )
        before = [ip_line(pair.paris, show) for show in shows]
        applied = pair.paris.plutino("apply", pair.paris.file)
        assert applied.returncode == 0, applied.stderr
        assert pair.paris.plutino("apply", pair.paris.file).stdout == "nothing to do\n"
        assert ip_line(pair.paris, "xfrm state").count("proto esp") == 3
        down = pair.paris.plutino("down")
        assert down.returncode == 0, down.stderr
        assert [ip_line(pair.paris, show) for show in shows] == before
        assert pair.paris.plutino("down").stdout == "nothing to do\n"


def test_down_finds_its_own_without_its_notes() -> None:
    with running_pair(plane="kernel", start=False) as pair:
        assert pair.paris.plutino("apply", pair.paris.file).returncode == 0
        for file in (pair.paris.folder / "run" / "default").iterdir():
            file.unlink()
        assert pair.paris.plutino("down").returncode == 0
        assert ip_line(pair.paris, "xfrm state") == ip_line(pair.paris, "xfrm policy") == ""


def test_down_finds_its_own_without_its_link() -> None:
    with running_pair(plane="kernel", start=False) as pair:
        assert pair.paris.plutino("apply", pair.paris.file).returncode == 0
        ip_line(pair.paris, "link del ipsec1")
        assert pair.paris.plutino("down").returncode == 0
        assert ip_line(pair.paris, "xfrm state") == ip_line(pair.paris, "xfrm policy") == ""


def test_two_instances_keep_to_their_own() -> None:
    with running_pair(plane="kernel", start=False) as pair:
        assert pair.paris.plutino("apply", pair.paris.file).returncode == 0
        shows = ("link", "xfrm state", "xfrm policy", "route show table all proto 134")
        before = [ip_line(pair.paris, show) for show in shows]
        text = pair.paris.file.read_text()
        for old, new in (
            ("ipsec1", "ipsec2"),
            ("192.0.2.2", "192.0.2.3"),
            ('"10.255.0.0/31", "fd00:1::/127"', '"10.254.0.0/31"'),
            ('"10.2.0.0/16", "2001:db8:2::/48"', '"10.3.0.0/16"'),
            ("paris-berlin", "other"),
        ):
            assert old in text
            text = text.replace(old, new)
        other = pair.paris.folder / "other.toml"
        other.write_text('instance = "other"\n' + text)
        keys = pair.paris.folder / "other.keys"
        keys.touch(mode=0o600)
        keys.write_text(encode_keys(generate_pair(os.urandom)[0], used_at="paris", peer="other"))
        for _ in range(2):
            done = pair.paris.plutino("apply", other)
            assert done.returncode == 0, done.stderr
        assert done.stdout == "nothing to do\n"
        assert pair.paris.plutino("apply", pair.paris.file).stdout == "nothing to do\n"
        assert ip_line(pair.paris, "xfrm state").count("proto esp") == 4
        assert pair.paris.plutino("down", other).returncode == 0
        assert [ip_line(pair.paris, show) for show in shows] == before


def test_a_refusal_is_told_and_everything_is_undone() -> None:
    with running_pair(plane="kernel", start=False) as pair:
        ip_line(pair.paris, "link add strange type xfrm if_id 1")
        shows = ("link", "xfrm state", "xfrm policy", "route show table all proto 134")
        before = [ip_line(pair.paris, show) for show in shows]
        done = pair.paris.plutino("apply", pair.paris.file)
        assert done.returncode == 1
        assert "error: create link ipsec1: File exists (EEXIST)" in done.stderr
        assert "all steps before it were undone" in done.stderr
        assert "hint: another XFRM interface has if_id 1" in done.stderr
        assert [ip_line(pair.paris, show) for show in shows] == before
        ip_line(pair.paris, "link del strange")
        assert pair.paris.plutino("apply", pair.paris.file).returncode == 0
