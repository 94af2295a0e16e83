"""plutino with libreswan, both on the kernel's ESP and each with its own XFRM interface."""

import os
import re
from functools import partial
from ipaddress import ip_address

import pytest

from plutino.lab.demo import BERLIN, INNER, PARIS
from plutino.lab.peers.packages import Peer
from plutino.lab.traffic import ping
from plutino.model.errors import PlaneError
from tests.support.exhaustive import EXHAUSTIVE
from tests.support.libreswan_lab import ANY, connection, mixed_pair, p12
from tests.support.multihomed_lab import run
from tests.support.pki import issue
from tests.support.rekeys import traffic
from tests.support.until import until

ALGORITHMS = {
    # ike= and esp= of libreswan, proposals and esp-proposals of ours
    "gcm": (
        "aes_gcm256-sha2_384-dh31",
        "aes_gcm256",
        "aes256gcm16-prfsha384-x25519",
        "aes256gcm16-esn-noesn",
    ),
    "chacha": (
        "chacha20_poly1305-sha2_256-dh19",
        "chacha20_poly1305",
        "chacha20poly1305-prfsha256-ecp256",
        "chacha20poly1305-esn-noesn",
    ),
    "cbc": (
        "aes128-sha2_256-dh14",
        "aes128-sha2_256",
        "aes128-sha256-modp2048",
        "aes128-sha256-esn-noesn",
    ),
}
CASES = [  # outer, inner IP version, algorithms
    (outer, inner, name) for outer in (4, 6) for inner in (4, 6) for name in ALGORITHMS
]
WE_BEGIN = CASES if EXHAUSTIVE else [(6, 6, "cbc")]
PEER_BEGINS = CASES if EXHAUSTIVE else [(4, 4, "gcm"), (6, 4, "chacha")]
CHAINS = [("rsa", "ecdsa", "now"), ("ecdsa", "rsa", "listen")]
if EXHAUSTIVE:
    KINDS = ("rsa", "ecdsa", "ecdsa384")
    CHAINS = [(a, b, start) for a in KINDS for b in KINDS for start in ("now", "listen")]


REKEYS = int(os.environ.get("PLUTINO_REKEYS", "5" if EXHAUSTIVE else "1"))
"""Of each kind by the peer, one after another."""
AUTH = {"rsa": "rsasig", "ecdsa": "ecdsa", "ecdsa384": "ecdsa"}
"""By ``authby`` alone libreswan 4 takes both ends to have the same kind of key."""


@pytest.mark.parametrize(("outer", "inner", "name"), WE_BEGIN)
def test_we_begin(libreswan: Peer, outer: int, inner: int, name: str) -> None:
    ike, esp, proposals, esp_proposals = ALGORITHMS[name]
    own = f'proposals = ["{proposals}"]\nesp-proposals = ["{esp_proposals}"]'
    theirs = connection(outer, ts=ANY[inner], lines=f"ike={ike}\nesp={esp}\npfs=no")
    with mixed_pair(libreswan, theirs, outer, paris=own, versions=(inner,)) as lab:
        lab.until_it_passes()


@pytest.mark.parametrize(("outer", "inner", "name"), PEER_BEGINS)
def test_the_peer_begins(libreswan: Peer, outer: int, inner: int, name: str) -> None:
    ike, esp, proposals, esp_proposals = ALGORITHMS[name]
    own = f'start = "listen"\nproposals = ["{proposals}"]\nesp-proposals = ["{esp_proposals}"]'
    theirs = connection(outer, ts=ANY[inner], lines=f"ike={ike}\nesp={esp}\npfs=no")
    with mixed_pair(libreswan, theirs, outer, paris=own, versions=(inner,)) as lab:
        lab.whack("--name", "paris", "--initiate")
        lab.until_it_passes()


def test_both_versions_by_a_tunnel_each(libreswan: Peer) -> None:
    """A connection of libreswan 4 has one selector of a side, and a tunnel of ours one CHILD_SA."""
    connections = {
        f"paris{version}": connection(
            ts=(f"{INNER[BERLIN][place]}/{length}", f"{INNER[PARIS][place]}/{length}"),
            auth=f"authby=secret\nleftid=@berlin{version}\nrightid=@paris{version}",
        )
        for place, (version, length) in enumerate(((4, 32), (6, 128)))
    }
    with mixed_pair(
        libreswan, connections, versions=(4, 6), interface="lo", edit=two_tunnels
    ) as lab:
        until(lambda: len(lab.children()) == 2, "both are up")
        # libreswan 4 makes no route for IPv6 between peers of IPv4.
        run(lab.berlin.namespace, f"ip -6 route replace {INNER[PARIS][1]}/128 dev ipsec1")
        lab.until_it_passes()


def two_tunnels(text: str) -> str:
    """The gateway file with a tunnel for each IP version, on one interface."""
    head, _, body = text.partition("[tunnels.berlin]")
    body = re.sub("(addresses|routes) = .*\n", "", body)
    found = []
    for place, (version, length) in enumerate(((4, 32), (6, 128))):
        ours, theirs = (f"{INNER[name][place]}/{length}" for name in (PARIS, BERLIN))
        own = f"""
addresses = ["{ours}"]
routes = ["{theirs}"]
local-ts = ["{ours}"]
remote-ts = ["{theirs}"]
"""
        ike = f'[tunnels.berlin{version}.ike]\nlocal-id = "paris{version}"\n'
        ike += f'remote-id = "berlin{version}"\n'
        one = f"[tunnels.berlin{version}]{own}{body}".replace("[tunnels.berlin.ike]\n", ike)
        found.append(one)
    return head + "\n".join(found)


@pytest.mark.parametrize("pfs", ["yes", "no"] if EXHAUSTIVE else ["yes"])
def test_rekeys_under_traffic(libreswan: Peer, pfs: str) -> None:
    """By the peer, then by us within ten seconds; not a packet is lost."""
    own = "rekey-after = 10\nike-rekey-after = 10\nrekey-jitter = 0.5"
    if pfs == "yes":
        own += '\nesp-proposals = ["aes256gcm16-x25519-ecp256-modp2048-esn-noesn"]'
    with mixed_pair(libreswan, connection(lines=f"pfs={pfs}"), paris=own) as lab:
        lab.until_it_passes()
        with traffic(lab, 0.005):
            for _ in range(REKEYS):
                before = lab.children()
                lab.rekey_child()
                until(partial(lab.child_renewed, before), "a new CHILD_SA")
                ikes = lab.ike_sas()
                lab.rekey_ike()
                until(partial(lab.ike_renewed, ikes), "a new IKE SA")
            before, ikes = lab.children(), lab.ike_sas()
            until(partial(lab.child_renewed, before), "a new CHILD_SA of ours", seconds=30)
            until(partial(lab.ike_renewed, ikes), "a new IKE SA of ours", seconds=30)
        lab.assert_nothing_in_clear()


def test_deletes(libreswan: Peer) -> None:
    """The peer does, and we begin anew; we do, and the peer has let all go."""
    with mixed_pair(libreswan, connection()) as lab:
        lab.until_it_passes()
        before = lab.ike_sas()
        lab.whack("--name", "paris", "--terminate")
        until(partial(lab.ike_renewed, before), "a new IKE SA")
        lab.until_it_passes()
        assert lab.paris.plutino("down").returncode == 0
        until(lambda: not lab.libreswan.states(), "the peer has let all go")


def test_a_silent_peer_is_left_and_found_again(libreswan: Peer) -> None:
    own = "liveness-after = 1\nretransmit-after = 0.2\nretransmit-tries = 2"
    with mixed_pair(libreswan, connection(), paris=own) as lab:
        lab.until_it_passes()
        lab.libreswan.kill()
        until(lambda: not lab.is_up(), "it is noticed")
        lab.libreswan.start()
        until(lab.passes, "packets pass again")
        lab.tap.catch_up()
        assert lab.tap.marked == 0  # there are ICMP errors of its host, which are no leak


@pytest.mark.parametrize("start", ["now", "listen"] if EXHAUSTIVE else ["now"])
def test_a_peer_by_policy_narrows(libreswan: Peer, start: str) -> None:
    """It has no XFRM interface, and one address of each side; other packets find no way."""
    theirs = connection(
        ts=(f"{INNER[BERLIN][0]}/32", f"{INNER[PARIS][0]}/32"), lines="pfs=no\nnarrowing=yes"
    ).replace("ipsec-interface=yes", "ipsec-interface=no")
    with mixed_pair(libreswan, theirs, paris=f'start = "{start}"', interface="lo") as lab:
        if start == "listen":
            lab.whack("--name", "paris", "--initiate")
        lab.until_it_passes()
        run(lab.berlin.namespace, "ip address add 10.2.0.1/32 dev lo")
        other = ip_address("10.2.0.1")
        assert ping(lab.paris.namespace, other, count=1, timeout=0.2)[0] == 0
        lab.assert_nothing_in_clear()


def test_another_key_is_refused_and_told(libreswan: Peer) -> None:
    """Whoever begins."""
    with mixed_pair(libreswan, connection(), psk="another key altogether") as lab:
        until(lambda: "AUTHENTICATION_FAILED" in lab.paris.last_words(), "the refusal is told")
        with pytest.raises(PlaneError, match="AUTHENTICATION_FAILED"):
            lab.whack("--name", "paris", "--initiate")
        assert not lab.libreswan.states()
        assert not lab.is_up()
        lab.assert_nothing_in_clear()


@pytest.mark.parametrize(("ours", "theirs", "start"), CHAINS)
def test_certificates_prove_both(libreswan: Peer, ours: str, theirs: str, start: str) -> None:
    """Each by a chain over another authority."""
    root = issue("root", authority=True)
    below = issue("below", root, kind="rsa", authority=True)
    paris = issue("paris", below, kind=ours, dns="paris.example")
    berlin = issue("berlin", below, kind=theirs, dns="berlin.example")
    files = {
        "paris/own.pem": paris.pem + below.pem,
        "paris/own.key": paris.key_pem,
        "paris/ca.pem": root.pem,
        "lsw/authorities/root.pem": root.pem,
        "lsw/certificates/berlin.p12": p12("berlin", berlin, below),
    }
    auth = (
        "leftcert=berlin\nleftid=@berlin.example\nrightid=@paris.example\n"
        f"leftauth={AUTH[theirs]}\nrightauth={AUTH[ours]}\nleftsendcert=always\nsendca=all\nfragmentation=force"
    )
    own = (
        f'start = "{start}"\nlocal-id = "paris.example"\nremote-id = "berlin.example"\n'
        'certificate = "own.pem"\nprivate-key = "own.key"\nauthorities = "ca.pem"\n'
        "fragment-size = 600"
    )
    with mixed_pair(libreswan, connection(auth=auth), paris=own, files=files) as lab:
        if start == "listen":
            lab.whack("--name", "paris", "--initiate")
        lab.until_it_passes()
