"""plutino with libreswan: cookies, narrow paths, moves, transport mode, more than one tunnel."""

from ipaddress import ip_address

import pytest

from plutino.ike.half_open import COOKIES_ABOVE
from plutino.lab.demo import BERLIN, INNER, OUTER, PARIS
from plutino.lab.peers.packages import Peer
from plutino.lab.traffic import ping, transfer
from plutino.lab.wire import FrameKind
from tests.support.exhaustive import EXHAUSTIVE
from tests.support.half_open import SUITE, leave_half_open
from tests.support.libreswan_lab import BY_NAME, NAMES, Mixed, connection, mixed_pair, p12
from tests.support.multihomed_lab import run
from tests.support.pki import issue, long_chain
from tests.support.until import until

OTHER_GROUP = SUITE.replace("x25519", "ecp256-x25519")
"""What begins with a key exchange that the other end refuses."""
IKE = "ike=aes_gcm128-sha2_256-{}\npfs=no"


def test_we_bring_the_cookie_of_libreswan(libreswan: Peer) -> None:
    """Also where we have to begin anew with another key exchange (RFC 7296, 2.6.1)."""
    own = f'start = "on-traffic"\nproposals = ["{OTHER_GROUP}"]'
    with mixed_pair(libreswan, connection(lines=IKE.format("dh31")), paris=own) as lab:
        lab.whack("--ddos-busy")
        until(lambda: provoked(lab), "packets pass")
        lab.assert_nothing_in_clear()
        log = lab.libreswan.log()
        assert "unencrypted notification COOKIE" in log
        assert "unencrypted notification INVALID_KE_PAYLOAD" in log


def provoked(lab: Mixed) -> bool:
    """What we send makes the CHILD_SA; then it passes."""
    ping(lab.paris.namespace, ip_address(INNER[BERLIN][0]), count=1, timeout=0.1)
    return lab.passes()


@pytest.mark.parametrize("group", ["dh31", "dh19+dh31"] if EXHAUSTIVE else ["dh19+dh31"])
def test_libreswan_brings_our_cookie(libreswan: Peer, group: str) -> None:
    own = f'start = "listen"\nproposals = ["{SUITE}"]'
    theirs = connection(lines=IKE.format(group))
    with mixed_pair(libreswan, theirs, paris=own) as lab:
        begun = leave_half_open(lab.berlin.namespace, OUTER[4][PARIS], COOKIES_ABOVE + 1)
        assert begun == COOKIES_ABOVE  # and the last one was asked for a cookie
        lab.whack("--name", "paris", "--initiate")
        until(lab.passes, "packets pass")
        assert "COOKIE" in lab.libreswan.log()
        lab.tap.catch_up()
        assert lab.tap.marked == 0


@pytest.mark.parametrize("family", [4, 6] if EXHAUSTIVE else [6])
@pytest.mark.parametrize("start", ["now", "listen"] if EXHAUSTIVE else ["now"])
def test_a_long_chain_on_a_path_of_1280_bytes(libreswan: Peer, family: int, start: str) -> None:
    """In fragments of IKE and none of IP, both ways; and traffic of any size passes."""
    root = issue("root", authority=True)
    chain = long_chain(root)
    paris = issue("paris", chain[-1], kind="rsa", dns="paris.example")
    berlin = issue("berlin", chain[-1], kind="rsa", dns="berlin.example")
    files = {
        "paris/own.pem": b"".join(one.pem for one in (paris, *reversed(chain))),
        "paris/own.key": paris.key_pem,
        "paris/ca.pem": root.pem,
        "lsw/authorities/root.pem": root.pem,
        "lsw/certificates/berlin.p12": p12("berlin", berlin, *chain),
    }
    auth = (
        "leftcert=berlin\nleftid=@berlin.example\nrightid=@paris.example\n"
        "authby=rsasig\nleftsendcert=always\nsendca=all"
    )
    own = (
        f'start = "{start}"\n{NAMES}certificate = "own.pem"\nprivate-key = "own.key"\n'
        'authorities = "ca.pem"'
    )
    with mixed_pair(
        libreswan, connection(family, auth=auth), family, paris=own, files=files, mtu=1280
    ) as lab:
        if start == "listen":
            lab.whack("--name", "paris", "--initiate")
        lab.until_it_passes()
        assert lab.tap.count(FrameKind.FRAGMENT) == 0
        assert lab.tap.count(FrameKind.IKE) >= 6 + 2 * 3  # each of the chains takes three or more
        run(lab.berlin.namespace, "ip link set ipsec1 mtu 1180")
        for source, target, inner in (
            (lab.paris, lab.berlin, INNER[BERLIN][0]),
            (lab.berlin, lab.paris, INNER[PARIS][0]),
        ):
            done = transfer(source.namespace, target.namespace, ip_address(inner), octets=1 << 18)
            assert done.intact, (source.name, done)
        lab.assert_nothing_in_clear()


@pytest.mark.parametrize("mobike", ["yes", "no"])
def test_it_moves_to_another_address(libreswan: Peer, mobike: str) -> None:
    """By MOBIKE to a peer by policy, and to one with an interface by another handshake.

    libreswan agrees on MOBIKE where it knows no address of the peer, and cannot move the SAs of an
    interface.
    """
    second = "192.0.2.11"
    by_policy = mobike == "yes"
    ts = (f"{INNER[BERLIN][0]}/32", f"{INNER[PARIS][0]}/32")
    theirs = connection(ts=ts, auth=BY_NAME, lines=f"pfs=no\nnarrowing=yes\nmobike={mobike}")
    theirs = theirs.replace(f"right={OUTER[4][PARIS]}", "right=%any")
    if by_policy:
        theirs = theirs.replace("ipsec-interface=yes", "ipsec-interface=no")
    with mixed_pair(
        libreswan, theirs, paris=NAMES, interface="lo", uplinks=(OUTER[4][PARIS], second)
    ) as lab:
        lab.until_it_passes()
        before = lab.ike_sas(), lab.children()
        run(lab.paris.namespace, f"ip address del {OUTER[4][PARIS]}/24 dev wire")
        target = ip_address(INNER[BERLIN][0])
        until(
            lambda: ping(lab.paris.namespace, target, count=1, timeout=0.3)[0] == 1, "packets pass"
        )
        assert ((lab.ike_sas(), lab.children()) == before) == by_policy
        assert second in run(lab.berlin.namespace, "ip xfrm state")
        lab.assert_nothing_in_clear()


@pytest.mark.parametrize("family", [4, 6] if EXHAUSTIVE else [4])
@pytest.mark.parametrize("start", ["now", "listen"] if EXHAUSTIVE else ["listen"])
def test_transport_mode_of_the_engine(libreswan: Peer, family: int, start: str) -> None:
    """What Paris and Berlin send to each other themselves; libreswan's is the kernel's."""
    theirs = connection(family, lines="pfs=no\ntype=transport")
    theirs = "".join(
        f"{one}\n"
        for one in theirs.splitlines()
        if "subnet=" not in one and "ipsec-interface" not in one
    )
    with mixed_pair(
        libreswan,
        theirs,
        family,
        paris=f'start = "{start}"',
        plane="userspace",
        mode="transport",
    ) as lab:
        if start == "listen":
            lab.whack("--name", "paris", "--initiate")
        lab.paris.wait_until_up()
        target = ip_address(OUTER[family][BERLIN])
        until(lambda: ping(lab.paris.namespace, target, count=1)[0] == 1, "packets pass")
        assert "mode transport" in run(lab.berlin.namespace, "ip xfrm state")
        lab.assert_nothing_in_clear()
        assert lab.tap.count(FrameKind.ESP) > 0


ENDS = [
    tuple(f"{INNER[name][place]}/{length}" for name in (PARIS, BERLIN))
    for place, length in enumerate((32, 128))
]
"""Selectors of two tunnels, by IP version."""


def test_two_tunnels_by_one_ike_sa(libreswan: Peer) -> None:
    """Each has an interface of its own here; libreswan has one for both."""
    names = ("paris", "lab")
    connections = {
        name: connection(ts=(theirs, ours))
        for name, (ours, theirs) in zip(names, ENDS, strict=True)
    }
    with mixed_pair(
        libreswan, connections, versions=(4, 6), interface="lo", edit=second_tunnel
    ) as lab:
        until(lambda: len(lab.children()) == 2, "both are up")
        run(lab.berlin.namespace, f"ip -6 route replace {INNER[PARIS][1]}/128 dev ipsec1")
        lab.until_it_passes()
        assert len(lab.ike_sas()) == 1
        before, ikes = lab.children(), lab.ike_sas()
        for name in names:
            lab.rekey_child(name)
        until(lambda: len(lab.children()) == 2 and not lab.children() & before, "other CHILD_SAs")
        lab.rekey_ike()
        until(lambda: lab.ike_renewed(ikes), "a new IKE SA")
        lab.until_it_passes()
        assert len(lab.children()) == 2


def second_tunnel(text: str) -> str:
    """The gateway file with IPv6 in a tunnel of its own, by the IKE SA of the first."""
    text = "".join(
        f"{one}\n" for one in text.splitlines() if not one.startswith(("addresses =", "routes ="))
    )
    first, second = (
        f'addresses = ["{ours}"]\nroutes = ["{theirs}"]\n'
        f'local-ts = ["{ours}"]\nremote-ts = ["{theirs}"]\n'
        for ours, theirs in ENDS
    )
    text = text.replace('mode = "tunnel"\n', f'mode = "tunnel"\n{first}')
    return f"""{text}
[tunnels.lab]
interface = "ipsec2"
local = "{OUTER[4][PARIS]}"
remote = "{OUTER[4][BERLIN]}"
{second}ike.ike-sa-of = "berlin"
"""
