"""Which peer it is, where several are configured for the same addresses (RFC 7296, 2.4 and 3.5)."""

from dataclasses import replace
from ipaddress import ip_network

import pytest

from plutino.ike.auth.credentials import LocalPresharedKey, RemotePresharedKey
from plutino.ike.auth.identity import Identity, IdType
from plutino.ike.events import IkeClosed
from plutino.ike.narrowing import selector_of
from plutino.ike.path import first_path
from plutino.ike.payloads.proposal import Transform
from plutino.ike.payloads.traffic_selector import TrafficSelector
from plutino.ike.proposals import Suite
from plutino.model.secret import Secret
from tests.support.ike_network import IKE_GCM, KEY, A, B, IkePair, child, peer


@pytest.mark.parametrize("apart", [0.0, 0.025, 5.0])
def test_initial_contact_is_said_once_for_all_tunnels_of_two_identities(apart: float) -> None:
    """The peer would end the IKE SA of the other tunnel by it."""
    second = replace(peer("a"), name="second")
    pair = IkePair()
    pair.add("a", A, [peer("a"), second])
    pair.a.keep_up("b", first_path(A, B), ("net",), pair.now)
    pair.run(apart)
    pair.a.keep_up("second", first_path(A, B), ("net",), pair.now)
    pair.run(10)
    assert sum("N(INITIAL_CONTACT)" in rung for rung in pair.trace) == 1, pair.trace
    assert len(pair.b.sessions) == 2


def test_initial_contact_is_said_to_each_of_several_identities() -> None:
    other = RemotePresharedKey(Identity.fqdn("c"), KEY)
    second = replace(peer("a"), name="second", remote_credential=other)
    pair = IkePair()
    pair.add("a", A, [peer("a"), second])
    pair.a.keep_up("b", first_path(A, B), ("net",), pair.now)
    pair.run(5)
    pair.a.keep_up("second", first_path(A, B), ("net",), pair.now)
    pair.run(0.1)
    assert sum("N(INITIAL_CONTACT)" in rung for rung in pair.trace) == 2


def test_the_log_says_who_is_not_known_and_who_is() -> None:
    other = LocalPresharedKey(Identity.fqdn("rome"), KEY)
    pair = IkePair(a=peer("a", local_credential=other))
    pair.start()
    pair.run(5)
    known = "nobody of identity rome is configured for this path, but a"
    assert known in str(pair.events["b"])
    assert "AUTHENTICATION_FAILED" in str(pair.events["a"])
    wanted = RemotePresharedKey(Identity.fqdn("berlin"), KEY)
    pair = IkePair(a=peer("a", remote_credential=wanted))
    pair.start()
    pair.run(5)
    assert "a asks for berlin, which is not our identity" in str(pair.events["b"])


WEAK = (*IKE_GCM[:-1], Transform(4, 14))
QUANTUM = (*IKE_GCM, Transform(6, 36))


@pytest.mark.parametrize(("lenient", "strict"), [((WEAK,), (IKE_GCM,)), ((IKE_GCM,), (QUANTUM,))])
def test_a_peer_gets_no_suite_that_only_another_is_allowed(
    lenient: tuple[Suite, ...], strict: tuple[Suite, ...]
) -> None:
    """Who it is shows after IKE_SA_INIT; RFC 7296, 3.3.4: only what is configured for it."""
    someone = RemotePresharedKey(Identity.fqdn("c"), Secret(b"a key of another peer"))
    first = replace(peer("b", suites=lenient), name="c", remote_credential=someone)
    pair = IkePair(a=peer("a", suites=lenient))
    pair.add("b", B, [first, peer("b", suites=strict)])
    pair.start()
    pair.run(5)
    assert not pair.b.sessions
    assert "not allowed" in str(pair.events["b"])
    assert "AUTHENTICATION_FAILED" in str(pair.events["a"])
    pair = IkePair(a=peer("a", suites=strict))
    pair.add("b", B, [first, peer("b", suites=strict)])
    pair.establish()


def test_what_most_peers_of_a_path_are_allowed_is_chosen() -> None:
    """So that a peer which offers both gets in, although another, older one comes first."""
    someone = RemotePresharedKey(Identity.fqdn("c"), Secret(b"a key of another peer"))
    old = replace(peer("b", suites=(WEAK,)), name="c", remote_credential=someone)
    new = replace(peer("b", suites=(IKE_GCM,)), name="d", remote_credential=someone)
    pair = IkePair(a=peer("a", suites=(WEAK, IKE_GCM)))
    pair.add("b", B, [old, new, peer("b", suites=(IKE_GCM,))])
    pair.establish()


def test_the_child_that_has_the_first_selectors_is_meant() -> None:
    """RFC 7296, 2.9: they are of the packet that asks; the narrowed ones must hold them."""

    def nets(*texts: str) -> tuple[TrafficSelector, ...]:
        return tuple(selector_of(ip_network(one)) for one in texts)

    first = child("first", local=nets("10.2.0.0/24"), remote=nets("10.1.0.0/24"))
    second = child("second", local=nets("10.2.1.0/24"), remote=nets("10.1.0.0/24"))
    asked = child(local=nets("10.1.0.7", "10.1.0.0/16"), remote=nets("10.2.1.9", "10.2.0.0/16"))
    pair = IkePair(a=peer("a", children=(asked,)), b=peer("b", children=(first, second)))
    pair.establish()
    (made,) = pair.current("b")
    assert made.child.config.name == "second"
    assert made.child.local == nets("10.2.1.0/24")


def test_whoever_it_may_be_ends_nothing_by_its_identity() -> None:
    """A name nested without end, of who has proved nothing, gets its refusal and no more."""
    endless = b"\x30\x00"
    while len(endless) < 8000:
        endless = b"\x30\x82" + len(endless).to_bytes(2, "big") + endless
    stranger = LocalPresharedKey(Identity(IdType.DER_ASN1_DN, endless), KEY)
    pair = IkePair(a=peer("a", local_credential=stranger))
    pair.start()
    pair.run(5)
    closed = [one.reason for one in pair.events["a"] if isinstance(one, IkeClosed)]
    assert set(closed) == {"the peer refuses: AUTHENTICATION_FAILED"}
    assert not pair.b.sessions
