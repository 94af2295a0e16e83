"""plutino with strongSwan: cookies, large messages on narrow paths, transport mode."""

from ipaddress import ip_address

import pytest

from plutino.ike.half_open import COOKIES_ABOVE
from plutino.lab.demo import BERLIN, INNER, OUTER, PARIS
from plutino.lab.peers.packages import Peer
from plutino.lab.traffic import ping, transfer
from plutino.lab.wire import FrameKind
from tests.support.exhaustive import EXHAUSTIVE
from tests.support.half_open import SUITE, leave_half_open
from tests.support.pki import issue, long_chain
from tests.support.strongswan_lab import IF_ID, PLANE, TS, Mixed, mixed_pair, swanctl_conf
from tests.support.until import until

IN_GUEST = PLANE == "kernel"
OTHER_GROUP = SUITE.replace("x25519", "ecp256-x25519")
"""What begins with a key exchange that the other end refuses."""


def until_it_passes(lab: Mixed) -> None:
    """Both versions through the tunnel, and nobody can read them."""

    def passes() -> bool:
        targets = map(ip_address, INNER[BERLIN])
        return all(ping(lab.paris.namespace, one, count=1, timeout=0.3)[0] for one in targets)

    try:
        until(passes, "packets pass")
    except AssertionError as error:
        words = f"{error}\n{lab.paris.last_words()}\n{lab.strongswan.log()[-6000:]}"
        raise AssertionError(words) from None
    lab.tap.catch_up()
    assert lab.tap.marked == 0


@pytest.mark.parametrize("offered", [SUITE, OTHER_GROUP] if EXHAUSTIVE else [OTHER_GROUP])
def test_strongswan_brings_our_cookie(strongswan: Peer, offered: str) -> None:
    """Also where it has to begin anew with another key exchange (RFC 7296, 2.6.1)."""
    own = f'start = "listen"\nproposals = ["{SUITE}"]'
    with mixed_pair(strongswan, PLANE, swanctl_conf(4, ike=offered, ts=TS), paris=own) as lab:
        until(lambda: lab.paris.status() is not None, "plutino listens")
        number = COOKIES_ABOVE + 1
        begun = leave_half_open(lab.berlin.namespace, OUTER[4][PARIS], number)
        assert begun == COOKIES_ABOVE  # and the last one was asked for a cookie
        lab.swanctl("--initiate", "--child", "net")
        lab.paris.wait_until_up()
        until_it_passes(lab)
        log = lab.strongswan.log()
        assert "parsed IKE_SA_INIT response 0 [ N(COOKIE) ]" in log
        assert ("N(INVAL_KE)" in log) == (offered is OTHER_GROUP)


@pytest.mark.parametrize("offered", [SUITE, OTHER_GROUP] if EXHAUSTIVE else [OTHER_GROUP])
def test_we_bring_the_cookie_of_strongswan(strongswan: Peer, offered: str) -> None:
    own = f'start = "on-traffic"\nproposals = ["{offered}"]'
    conf = swanctl_conf(4, ike=SUITE, ts=TS)
    with mixed_pair(strongswan, PLANE, conf, paris=own, options="cookie_threshold = 1") as lab:
        until(lambda: lab.paris.status() is not None, "plutino listens")
        assert leave_half_open(lab.paris.namespace, OUTER[4][BERLIN], 2) == 1
        until_it_passes(lab)
        log = lab.strongswan.log()
        assert log.count("generating IKE_SA_INIT response 0 [ N(COOKIE) ]") >= 2
        assert "parsed IKE_SA_INIT request 0 [ N(COOKIE) SA KE No" in log
        assert ("N(INVAL_KE)" in log) == (offered is OTHER_GROUP)


@pytest.mark.parametrize("family", [4, 6] if EXHAUSTIVE else [6])
def test_a_long_chain_on_a_path_of_1280_bytes(strongswan: Peer, family: int) -> None:
    """In fragments of IKE and none of IP, both ways; and traffic of any size passes.

    But not IPv6 by the kernel, which has no room for its 1,280 bytes there and does not make any.
    """
    root = issue("root", authority=True)
    chain = long_chain(root)
    paris = issue("paris", chain[-1], kind="rsa", dns="paris.example")
    berlin = issue("berlin", chain[-1], kind="rsa", dns="berlin.example")
    between = {f"swan/x509ca/{place}.pem": one.pem for place, one in enumerate(chain)}
    files = between | {
        "paris/own.pem": b"".join(one.pem for one in (paris, *reversed(chain))),
        "paris/own.key": paris.key_pem,
        "paris/ca.pem": root.pem,
        "swan/x509/berlin.pem": berlin.pem,
        "swan/x509ca/root.pem": root.pem,
        "swan/private/berlin.key": berlin.key_pem,
    }
    here, there = OUTER[family][BERLIN], OUTER[family][PARIS]
    conf = swanctl_conf(family, ts=TS, connection="send_cert = always").replace(
        f"auth = psk\n    id = {here}",
        "auth = pubkey\n    certs = berlin.pem\n    id = berlin.example",
    )
    conf = conf.replace(f"auth = psk\n    id = {there}", "auth = pubkey\n    id = paris.example")
    own = (
        'local-id = "paris.example"\nremote-id = "berlin.example"\ncertificate = "own.pem"\n'
        'private-key = "own.key"\nauthorities = "ca.pem"'
    )
    with mixed_pair(strongswan, PLANE, conf, family, paris=own, files=files, mtu=1280) as lab:
        lab.paris.wait_until_up()
        lab.tap.catch_up()
        assert lab.tap.count(FrameKind.FRAGMENT) == 0
        log = lab.strongswan.log()
        assert "received fragment #4" in log
        assert "generating IKE_AUTH response 1 [ EF(3/" in log
        until_it_passes(lab)
        for source, target, inner in (
            (lab.paris, lab.berlin, INNER[BERLIN]),
            (lab.berlin, lab.paris, INNER[PARIS]),
        ):
            for address in map(ip_address, inner[:1] if IN_GUEST else inner):
                done = transfer(source.namespace, target.namespace, address, octets=1 << 18)
                assert done.intact, (source.name, address, done)
        lab.assert_nothing_in_clear()


if IN_GUEST:  # charon's own ESP has no transport mode

    @pytest.mark.parametrize("encapsulation", ["esp", "udp"])
    @pytest.mark.parametrize("family", [4, 6])
    @pytest.mark.parametrize("we_begin", [True, False])
    def test_transport_mode_of_the_engine(
        strongswan: Peer, family: int, we_begin: bool, encapsulation: str
    ) -> None:
        """What Paris and Berlin send to each other themselves; strongSwan's is the kernel's."""
        conf = swanctl_conf(family, child="mode = transport", ts=("dynamic", "dynamic"))
        conf = conf.replace(f"if_id_in = {IF_ID}\n", "").replace(f"if_id_out = {IF_ID}\n", "")
        own = f'start = "{"now" if we_begin else "listen"}"'
        with mixed_pair(
            strongswan,
            "userspace",
            conf,
            family,
            paris=own,
            mode="transport",
            encapsulation=encapsulation,
            in_kernel=True,
        ) as lab:
            until(lambda: lab.paris.status() is not None, "plutino listens")
            if not we_begin:
                lab.swanctl("--initiate", "--child", "net")
            lab.paris.wait_until_up()
            target = ip_address(OUTER[family][BERLIN])
            until(lambda: ping(lab.paris.namespace, target, count=1)[0] == 1, "packets pass")
            listed = lab.swanctl("--list-sas")
            assert "TRANSPORT" in listed, listed
            assert lab.strongswan.log().count("INVALID") == 0
            lab.assert_nothing_in_clear()
            kinds = {FrameKind.ESP: "esp", FrameKind.ESP_IN_UDP: "udp"}
            assert {name for one, name in kinds.items() if lab.tap.count(one)} == {encapsulation}
