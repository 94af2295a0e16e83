"""plutino with strongSwan: here both in user space, in the guest both on the kernel's ESP."""

import os
import re
import shutil
from functools import partial

import pytest

from plutino.lab.demo import INNER, PARIS
from plutino.lab.peers.packages import Peer
from tests.support.exhaustive import EXHAUSTIVE
from tests.support.fault_stream import Stream
from tests.support.ike_lab import passes
from tests.support.multihomed_lab import run
from tests.support.pki import issue
from tests.support.strongswan_lab import PLANE, TS, Mixed, mixed_pair, swanctl_conf
from tests.support.until import until

REKEYS = int(os.environ.get("PLUTINO_REKEYS", "5"))


def ike_renewed(lab: Mixed, before: list[str]) -> bool:
    """Whether there is one IKE SA, and another than before."""
    now = lab.ike_sas()
    return len(now) == 1 and now != before


def is_at(lab: Mixed, address: str) -> bool:
    """Whether strongSwan has Paris at an address."""
    return f" @ {address}[" in lab.swanctl("--list-sas")


def assert_nothing_lost(streams: tuple[Stream, Stream], first: tuple[int, int]) -> None:
    """Of what was sent from these numbers on."""
    for stream, mark in zip(streams, first, strict=True):
        assert not {one for one in stream.lost() if one >= mark}


@pytest.mark.parametrize("family", [4, 6])
def test_we_begin(strongswan: Peer, family: int) -> None:
    with mixed_pair(strongswan, PLANE, swanctl_conf(family, ts=TS), family) as lab:
        lab.until_it_passes()


@pytest.mark.parametrize(
    ("ike", "esp"),
    [
        ("aes128-sha256-modp2048", "aes128-sha256-ecp256"),
        ("chacha20poly1305-prfsha256-ecp256", "chacha20poly1305"),
        ("aes256gcm16-prfsha512-ecp384", "aes256gcm16-x25519"),
    ],
)
def test_the_peer_begins(strongswan: Peer, ike: str, esp: str) -> None:
    own = f'start = "listen"\nproposals = ["{ike}"]\nesp-proposals = ["{esp}"]'
    with mixed_pair(strongswan, PLANE, swanctl_conf(4, ike=ike, esp=esp, ts=TS), paris=own) as lab:
        lab.swanctl("--initiate", "--child", "net")
        lab.until_it_passes()


def test_the_peer_rekeys(strongswan: Peer) -> None:
    with mixed_pair(strongswan, PLANE, swanctl_conf(4, ts=TS)) as lab:
        lab.until_it_passes()
        for _ in range(2):
            before = lab.spis()
            lab.swanctl("--rekey", "--child", "net")
            until(partial(lab.renewed, before), "a new CHILD_SA")
            assert passes(lab.paris)
        first = lab.ike_sas()
        lab.swanctl("--rekey", "--ike", "paris")
        until(lambda: len(lab.ike_sas()) == 1 and lab.ike_sas() != first, "a new IKE SA")
        assert passes(lab.paris)
        before = lab.spis()
        lab.swanctl("--rekey", "--child", "net")
        until(lambda: not lab.spis() & before, "the new IKE SA has the child")
        lab.until_it_passes()


def test_we_rekey_under_traffic(strongswan: Peer) -> None:
    """Each after ten seconds at the latest: CHILD_SA and IKE SA. No packet is lost."""
    own = "rekey-after = 10\nike-rekey-after = 12\nrekey-jitter = 0.5"
    with (
        mixed_pair(strongswan, PLANE, swanctl_conf(4, ts=TS), paris=own) as lab,
        Stream(lab, interval=0.005) as there,
        Stream(lab, INNER[PARIS][0], back=True, interval=0.005) as back,
    ):
        first = there.sent, back.sent
        children, ikes = lab.spis(), lab.ike_sas()
        until(partial(lab.renewed, children), "a new CHILD_SA", seconds=30)
        until(partial(ike_renewed, lab, ikes), "a new IKE SA", seconds=30)
        assert_nothing_lost((there, back), first)
        lab.until_it_passes()


def test_rekeys_under_traffic_lose_nothing(strongswan: Peer) -> None:
    """By the peer, one after another, every fifth of the IKE SA; PLUTINO_REKEYS of them."""
    with (
        mixed_pair(strongswan, PLANE, swanctl_conf(4, ts=TS)) as lab,
        Stream(lab, interval=0.005) as there,
        Stream(lab, INNER[PARIS][0], back=True, interval=0.005) as back,
    ):
        first = there.sent, back.sent
        for number in range(1, REKEYS + 1):
            if number % 5:
                before = lab.spis()
                lab.swanctl("--rekey", "--child", "net")
                until(partial(lab.renewed, before), "a new CHILD_SA")
            else:
                ikes = lab.ike_sas()
                lab.swanctl("--rekey", "--ike", "paris")
                until(partial(ike_renewed, lab, ikes), "a new IKE SA")
        assert_nothing_lost((there, back), first)
        lab.assert_nothing_in_clear()


def test_a_silent_peer_is_left_and_found_again(strongswan: Peer) -> None:
    own = "liveness-after = 1\nretransmit-after = 0.2\nretransmit-tries = 3"
    with mixed_pair(strongswan, PLANE, swanctl_conf(4, ts=TS), paris=own) as lab:
        lab.until_it_passes()
        lab.strongswan.kill()
        until(lambda: "the peer does not answer" in lab.paris.last_words(), "it is noticed")
        until(lambda: not passes(lab.paris), "its SAs are gone")
        lab.strongswan.start()
        lab.make_interface()
        until(lambda: passes(lab.paris) and passes(lab.paris, 1), "packets pass again")
        lab.tap.catch_up()
        assert lab.tap.marked == 0  # there are ICMP errors of its host, which are no leak


def test_we_know_strongswan_no_more(strongswan: Peer) -> None:
    """What it had of us goes by INITIAL_CONTACT; that it asks meanwhile ends nothing."""
    conf = swanctl_conf(4, ts=TS, connection="dpd_delay = 1s")
    with mixed_pair(strongswan, PLANE, conf) as lab:
        lab.until_it_passes()
        before = lab.ike_sas()
        assert lab.paris.daemon is not None
        lab.paris.daemon.kill()
        lab.paris.daemon.wait()
        shutil.rmtree(lab.paris.folder / "state" / "default" / "ike")
        lab.paris.start_daemon()
        until(lambda: lab.ike_sas() not in ([], before), "another IKE SA")
        until(lambda: len(lab.ike_sas()) == 1, "the old one is gone")
        lab.until_it_passes()
        assert "received INITIAL_CONTACT" in lab.strongswan.log()


if EXHAUSTIVE:  # it takes its time

    def test_strongswan_knows_us_no_more(strongswan: Peer) -> None:
        """Our liveness check is a stranger's to it; we begin anew by ourselves."""
        own = "liveness-after = 1\nretransmit-after = 0.2\nretransmit-tries = 2"
        with mixed_pair(strongswan, PLANE, swanctl_conf(4, ts=TS), paris=own) as lab:
            lab.until_it_passes()
            before = lab.ike_sas()
            lab.strongswan.kill()
            lab.strongswan.start()
            lab.make_interface()
            until(lambda: lab.ike_sas() not in ([], before), "another IKE SA")
            until(lambda: passes(lab.paris) and passes(lab.paris, 1), "packets pass")
            lab.tap.catch_up()
            assert lab.tap.marked == 0  # there are ICMP errors of its host, which are no leak


def test_beet(strongswan: Peer) -> None:
    if PLANE == "userspace":
        return  # charon's own ESP has no BEET
    conf = swanctl_conf(4, child="mode = beet", ts=("10.255.0.1/32", "10.255.0.0/32"))
    with mixed_pair(strongswan, PLANE, conf, mode="beet") as lab:
        until(lambda: passes(lab.paris), "packets pass")
        lab.assert_nothing_in_clear()


def test_it_moves_to_another_address_and_back(strongswan: Peer) -> None:
    """MOBIKE: the same IKE SA and CHILD_SA, by the other address."""
    second = "192.0.2.11"
    conf = swanctl_conf(4, ts=TS).replace(
        "remote_addrs = 192.0.2.1", f"remote_addrs = 192.0.2.1, {second}"
    )
    conf = conf.replace("id = 192.0.2.1\n", "id = paris.example\n")
    own = 'local-id = "paris.example"'
    with mixed_pair(strongswan, PLANE, conf, paris=own, second=second) as lab:
        lab.until_it_passes()
        before = lab.ike_sas(), lab.spis()
        for command, where in (("del", second), ("add", "192.0.2.1")):
            run(lab.paris.namespace, f"ip address {command} 192.0.2.1/24 dev wire")
            until(partial(is_at, lab, where), f"strongSwan knows it at {where}")
            lab.until_it_passes()
        assert lab.ike_sas() == before[0]
        # charon's own ESP cannot change addresses: it is rekeyed there.
        assert lab.spis() == before[1] or PLANE == "userspace"


def test_it_is_told_of_our_other_address(strongswan: Peer) -> None:
    """RFC 4555, 3.4: in IKE_AUTH, and where there is none any more later."""
    second = "192.0.2.11"
    conf = swanctl_conf(4, ts=TS).replace("id = 192.0.2.1\n", "id = paris.example\n")
    own = 'local-id = "paris.example"\nstart = "listen"'
    with mixed_pair(strongswan, PLANE, conf, paris=own, second=second) as lab:
        until(lambda: "ready: " in lab.paris.last_words(), "plutino listens")
        lab.swanctl("--initiate", "--child", "net")
        lab.until_it_passes()
        assert f"got additional MOBIKE peer address: {second}" in lab.strongswan.log()
        before = lab.ike_sas(), lab.spis()
        run(lab.paris.namespace, f"ip address del {second}/24 dev wire")
        until(lambda: "N(NO_ADD_ADDR)" in lab.strongswan.log(), "it hears that there is none")
        lab.until_it_passes()
        assert (lab.ike_sas(), lab.spis()) == before


def test_the_peer_deletes_and_we_begin_anew(strongswan: Peer) -> None:
    with mixed_pair(strongswan, PLANE, swanctl_conf(4, ts=TS)) as lab:
        lab.until_it_passes()
        before = lab.ike_sas()
        lab.swanctl("--terminate", "--ike", "paris")
        until(lambda: len(lab.ike_sas()) == 1 and lab.ike_sas() != before, "a new IKE SA")
        lab.until_it_passes()


def test_another_key_is_refused_and_told(strongswan: Peer) -> None:
    conf = swanctl_conf(4, ts=TS).replace("correct horse", "wrong horse")
    with mixed_pair(strongswan, PLANE, conf) as lab:
        until(lambda: "AUTHENTICATION_FAILED" in lab.paris.last_words(), "the refusal is told")
        assert not passes(lab.paris)
        lab.assert_nothing_in_clear()


KINDS = [("ecdsa384", "rsa"), *([("rsa", "ecdsa")] if EXHAUSTIVE else [])]


@pytest.mark.parametrize(("ours", "theirs"), KINDS)
def test_certificates_prove_both(strongswan: Peer, ours: str, theirs: str) -> None:
    """Each by a chain over another authority, in fragments, whoever begins."""
    root = issue("root", authority=True)
    below = issue("below", root, kind="rsa", authority=True)
    paris = issue("paris", below, kind=ours, dns="paris.example")
    berlin = issue("berlin", below, kind=theirs, dns="berlin.example")
    files = {
        "paris/own.pem": paris.pem + below.pem,
        "paris/own.key": paris.key_pem,
        "paris/ca.pem": root.pem,
        "swan/x509/berlin.pem": berlin.pem,
        "swan/x509ca/root.pem": root.pem,
        "swan/x509ca/below.pem": below.pem,
        "swan/private/berlin.key": berlin.key_pem,
    }
    conf = swanctl_conf(4, ts=TS, connection="fragmentation = yes\n  send_cert = always")
    here, there = "id = 192.0.2.2", "id = 192.0.2.1"
    conf = conf.replace(
        "auth = psk\n    " + here, "auth = pubkey\n    certs = berlin.pem\n    id = berlin.example"
    )
    conf = conf.replace("auth = psk\n    " + there, "auth = pubkey\n    id = paris.example")
    own = (
        'local-id = "paris.example"\nremote-id = "berlin.example"\ncertificate = "own.pem"\n'
        'private-key = "own.key"\nauthorities = "ca.pem"\nfragment-size = 600'
    )
    with mixed_pair(strongswan, PLANE, conf, paris=own, files=files) as lab:
        lab.until_it_passes()
        log = lab.strongswan.log()
        assert "received fragment #2" in log
        assert re.search("authentication of 'paris.example' with (RSA_EMSA_PSS|ECDSA)", log), log
