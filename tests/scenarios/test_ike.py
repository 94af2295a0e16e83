"""Tunnels that get their keys by IKE, between two gateways of ours."""

import json
import re
import signal
from functools import partial
from ipaddress import ip_address

import pytest

from plutino.lab.demo import BERLIN, INNER, PARIS
from plutino.lab.hosts import Host
from plutino.lab.traffic import ping
from tests.support.ike_lab import PSK, ike_pair, passes, until_it_passes, use_ike
from tests.support.lab import Pair, running_pair
from tests.support.multihomed_lab import run
from tests.support.until import until


@pytest.mark.parametrize("encapsulation", ["esp", "udp"])
@pytest.mark.parametrize("family", [4, 6])
def test_both_versions_pass_with_keys_by_ike(plane: str, family: int, encapsulation: str) -> None:
    with ike_pair(plane, family, encapsulation) as pair:
        until_it_passes(pair)
        status = pair.paris.plutino("status").stdout
        ends = ("192.0.2.1", "192.0.2.2") if family == 4 else ("2001:db8::1", "2001:db8::2")
        plan = pair.paris.plutino("plan", pair.paris.file).stdout
        assert plan == "nothing to do\n"
        assert f"IKE up for 0 s, {ends[0]} - {ends[1]}" in re.sub(r"for \d+ s", "for 0 s", status)
        pair.assert_nothing_in_clear()


def test_another_key_is_refused_and_status_says_so(plane: str) -> None:
    """Where one end begins: the other one knows more than it is told."""
    with ike_pair(plane, berlin='start = "listen"', start=False) as pair:
        (pair.berlin.folder / "paris.psk").write_text("a key of sixteen bytes or more\n")
        for host in (pair.paris, pair.berlin):
            host.start_daemon()
        until(
            lambda: "AUTHENTICATION_FAILED" in pair.paris.plutino("status").stdout,
            "status says why",
        )
        assert not passes(pair.paris)
        assert "state DORMANT" in run(pair.paris.namespace, "ip link show ipsec1")
        for secret in (PSK.strip(), "a key of sixteen"):
            assert secret not in pair.paris.last_words() + pair.berlin.last_words()
        pair.assert_nothing_in_clear()


@pytest.mark.parametrize("option", ["proposals", "esp-proposals"])
def test_proposals_that_do_not_meet_are_told_by_status(plane: str, option: str) -> None:
    """Of ESP, too: then the IKE SA is up, and only status can say why nothing passes."""
    more = "-prfsha256-x25519" if option == "proposals" else ""
    weak, strong = (f"aes{bits}gcm16{more}" for bits in (128, 256))
    paris, berlin = f'{option} = ["{weak}"]', f'{option} = ["{strong}"]\nstart = "listen"'
    with ike_pair(plane, paris=paris, berlin=berlin, start=False) as pair:
        for host in (pair.berlin, pair.paris):
            host.start_daemon()
        refusal = f"the peer refuses.*NO_PROPOSAL_CHOSEN, of {weak}"
        until(partial(says, pair.paris, refusal), "status says what was refused")
        if option == "esp-proposals":
            assert says(pair.berlin, f"IKE up.*offered {weak}.*allowed {strong}")
        assert f"offered {weak}" in pair.berlin.last_words()
        assert f"allowed {strong}" in pair.berlin.last_words()
        assert not passes(pair.paris)
        pair.assert_nothing_in_clear()


def says(host: Host, words: str) -> bool:
    """Whether `status` does."""
    return re.search(words, host.plutino("status").stdout) is not None


@pytest.mark.parametrize(("port", "exchange"), [(500, "IKE_SA_INIT"), (4500, "IKE_AUTH")])
def test_what_is_not_answered_is_told_by_status(plane: str, port: int, exchange: str) -> None:
    """From the first request on, and at its end with the port that is to be opened."""
    listens = 'start = "listen"'
    with ike_pair(plane, 4, "udp", berlin=listens, start=False) as pair:
        run(
            pair.berlin.namespace,
            "nft add table inet firewall",
            "nft add chain inet firewall input { type filter hook input priority 0; }",
            f"nft add rule inet firewall input udp dport {port} drop",
        )
        for host in (pair.berlin, pair.paris):
            host.start_daemon()
        until(partial(says, pair.paris, f"{exchange} is not answered yet"), "it waits", seconds=60)
        use_ike(pair.paris, BERLIN, "retransmit-after = 0.5\nretransmit-tries = 1")
        assert pair.paris.daemon is not None
        pair.paris.daemon.send_signal(signal.SIGHUP)
        end = f"the peer does not answer {exchange} at 192.0.2.2:{port}"
        until(partial(says, pair.paris, end), "it gives up", seconds=30)
        assert not passes(pair.paris)
        pair.assert_nothing_in_clear()


def test_a_packet_starts_what_waits_for_traffic(plane: str) -> None:
    with ike_pair(
        plane, paris='start = "on-traffic"', berlin='start = "listen"', start=False
    ) as pair:
        for host in (pair.berlin, pair.paris):
            host.start_daemon()
        until(lambda: is_served(pair.paris) and is_served(pair.berlin), "both daemons serve")
        assert "NO-CARRIER" not in run(pair.paris.namespace, "ip link show ipsec1")
        assert "IKE down" in pair.paris.plutino("status").stdout
        until_it_passes(pair)
        pair.assert_nothing_in_clear()


def test_a_rekey_loses_nothing_and_no_number_is_kept_of_what_is_gone(plane: str) -> None:
    """Keys of ten seconds at most, and a ping every few milliseconds."""
    own = "rekey-after = 10\nike-rekey-after = 11\nrekey-jitter = 0.5"
    with ike_pair(plane, paris=own) as pair:
        until_it_passes(pair)
        first = outbound(pair)
        sent = received = 0
        while outbound(pair) in {first, None} or sent < 500:
            more = ping(pair.paris.namespace, ip_address(INNER[BERLIN][0]), count=100)[0]
            sent, received = sent + 100, received + more
        assert received == sent
        until(lambda: len(saved(pair.paris)) == 2, "stragglers have had their time")
        pair.assert_nothing_in_clear()


@pytest.mark.parametrize(
    "own",
    ["rekey-octets = 1048576", 'rekey-packets = 400\nesp-proposals = ["aes128gcm16-noesn"]'],
)
def test_packets_bring_new_keys_before_their_time(plane: str, own: str) -> None:
    """Without extended sequence numbers their end is near at a million packets per second."""
    size = 1200
    with ike_pair(plane, paris=own) as pair:
        until_it_passes(pair)
        first = outbound(pair)
        sent = received = 0
        while outbound(pair) in {first, None}:
            to = ip_address(INNER[BERLIN][0])
            received += ping(pair.paris.namespace, to, count=100, size=size)[0]
            sent += 100
            assert sent * size < 4 << 20, "no new keys"
        assert received == sent
        pair.assert_nothing_in_clear()


def outbound(pair: Pair) -> str | None:
    """None where the report is of the moment in which IKE has another SA, and the plane not yet."""
    report = pair.paris.status()
    assert report is not None
    return next((sa.spi for sa in report.tunnels[0].sas if sa.direction == "out"), None)


def is_served(host: Host) -> bool:
    report = host.status()
    return report is not None and report.daemon_pid is not None


def saved(host: Host) -> list[object]:
    """SAs whose numbers are on disk."""
    text = (host.folder / "state" / "default" / "sequences.json").read_text()
    found: list[object] = json.loads(text)["sas"]
    return found


def test_a_reload_brings_ike_to_a_gateway_with_static_keys(plane: str) -> None:
    with running_pair(plane=plane) as pair:
        for host, peer in ((pair.paris, BERLIN), (pair.berlin, PARIS)):
            use_ike(host, peer)
            assert host.daemon is not None
            host.daemon.send_signal(signal.SIGHUP)
        until(lambda: "IKE up" in pair.paris.plutino("status").stdout, "at once", seconds=8)
        until_it_passes(pair)
        pair.assert_nothing_in_clear()


def test_weak_algorithms_that_are_allowed_are_told(plane: str) -> None:
    weak = (
        'proposals = ["aes128-sha1-prfsha1-modp1024"]\nesp-proposals = ["aes128gcm16-noesn"]\n'
        'allow-weak = ["sha1", "prfsha1", "modp1024"]'
    )
    with ike_pair(plane, paris=weak, berlin=weak) as pair:
        until_it_passes(pair)
        status = pair.paris.plutino("status").stdout
        assert "aes128-prfsha1-sha1-modp1024 (WEAK: modp1024, sha1, prfsha1)" in status
