"""An IKE_AUTH that waits for an OCSP responder: late answers, none, and what comes meanwhile."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from random import Random
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509 import ocsp

from plutino.ike import half_open, ocsp_queries
from plutino.ike.auth.certificates import LocalCertificate, TrustedAuthorities
from plutino.ike.auth.identity import Identity
from plutino.ike.auth.ocsp import StatusQuestion
from plutino.ike.auth.revocation import OcspPolicy, Revocation
from plutino.ike.config import PeerConfig
from plutino.ike.exchanges.certificates import certificate_requests
from plutino.ike.ocsp_queries import PATIENCE, OcspQueries
from plutino.ike.state import SessionState
from tests.support.ike_network import IkePair, peer
from tests.support.pki import Certified, answered_at, issue, respond

URL = "http://ocsp.example/"
GOOD, REVOKED = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED


@cache
def root() -> Certified:
    return issue("root", authority=True)


@cache
def end(side: str) -> Certified:
    return issue(side, root(), dns=side, extensions=(answered_at(URL),))


def knows(side: str, policy: OcspPolicy | None, response: bytes | None = None) -> PeerConfig:
    """What a side knows of the other, and sends of itself when asked."""
    here, there = ("a", "b") if side == "a" else ("b", "a")
    own = LocalCertificate(Identity.fqdn(here), end(here).key, (end(here).certificate,), response)
    trusted = TrustedAuthorities(
        Identity.fqdn(there), (root().certificate,), Revocation(ocsp=policy)
    )
    return peer(side, local_credential=own, remote_credential=trusted)


STRICT, IF_PRESENT = OcspPolicy(strict=True), OcspPolicy()


def one_asks(side: str, policy: OcspPolicy = STRICT) -> IkePair:
    """A pair of which one wants to know more of the other's certificate."""
    return IkePair(
        a=knows("a", policy if side == "a" else None),
        b=knows("b", policy if side == "b" else None),
    )


def answers(pair: IkePair, delay: float, status: ocsp.OCSPCertStatus = GOOD) -> None:
    """From now on the responder does."""

    def responder(question: StatusQuestion) -> tuple[float, bytes]:
        number = ocsp.load_der_ocsp_request(question.request).serial_number
        about = next(one for one in map(end, "ab") if one.certificate.serial_number == number)
        return delay, respond(about, root(), status)

    pair.responder = responder


def questions(pair: IkePair) -> list[str]:
    return [one for one in pair.trace if " asks " in one]


def told(pair: IkePair, side: str) -> str:
    return " ".join(map(str, pair.events[side]))


def states(pair: IkePair, side: str) -> list[SessionState]:
    return [one.state for one in pair.endpoints[side].sessions.values()]


@pytest.mark.parametrize("side", ["a", "b"])
def test_nothing_is_up_before_the_responder_says_good(side: str) -> None:
    """Whichever end asks; what comes again meanwhile is answered once the answer is there."""
    pair = one_asks(side)
    answers(pair, 3.5)
    pair.start("a")
    pair.run(3)
    assert questions(pair) == [f"{side} asks {URL}"]
    assert pair.endpoints[side].child_sas() == []
    assert states(pair, side) == [SessionState.AUTHENTICATING]
    assert pair.run(10, pair.is_up)
    requests = [one for one in pair.trace if one.startswith("a> IKE_AUTH")]
    replies = [one for one in pair.trace if one.startswith("b> IKE_AUTH")]
    # b has the request three times before it may answer once; to a nothing is owed.
    assert (len(requests), len(replies)) == ((3, 1) if side == "b" else (1, 1))
    pair.run(60)
    assert pair.is_settled()
    assert questions(pair) == [f"{side} asks {URL}"]


@dataclass(frozen=True)
class Counting(TrustedAuthorities):
    """Counts how often a proof is looked at."""

    proofs: list[int] = field(default_factory=list, compare=False)

    def verify(self, *arguments: Any, **named: Any) -> None:
        """As ever."""
        self.proofs.append(1)
        super().verify(*arguments, **named)


def test_what_comes_again_meanwhile_is_no_more_work() -> None:
    known = knows("b", STRICT)
    trusted = known.remote_credential
    assert isinstance(trusted, TrustedAuthorities)
    counting = Counting(trusted.identity, trusted.trusted, trusted.revocation)
    pair = IkePair(a=knows("a", None), b=replace(known, remote_credential=counting))
    answers(pair, 3.5)
    pair.establish()
    assert sum(one.startswith("a> IKE_AUTH") for one in pair.trace) == 3
    assert len(counting.proofs) == 2  # when it came, and with the answer


def test_requests_that_come_while_the_response_is_held_are_answered_later() -> None:
    pair = IkePair(a=knows("a", STRICT), b=replace(knows("b", None), liveness_after=1.0))
    answers(pair, 3.5)
    pair.start("a")
    pair.run(2)
    assert any(one.startswith("b> INFORMATIONAL") for one in pair.trace)
    assert not any(one.startswith("a> INFORMATIONAL") for one in pair.trace)
    assert pair.run(10, pair.is_up)
    pair.run(5)
    assert any(one.startswith("a> INFORMATIONAL") for one in pair.trace)
    assert pair.is_up()


@pytest.mark.parametrize("policy", [STRICT, IF_PRESENT])
@pytest.mark.parametrize("side", ["a", "b"])
def test_who_is_revoked_is_refused_and_does_not_learn_why(side: str, policy: OcspPolicy) -> None:
    pair = one_asks(side, policy)
    answers(pair, 0.5, REVOKED)
    pair.start("a")
    pair.run(2)
    other = "b" if side == "a" else "a"
    assert pair.endpoints[side].child_sas() == []
    assert f"the certificate of CN={other} is revoked (OCSP)" in told(pair, side)
    assert "revoked" not in told(pair, other)
    assert "AUTHENTICATION_FAILED" in told(pair, other)
    assert pair.endpoints[other].child_sas() == []


@pytest.mark.parametrize("side", ["a", "b"])
def test_a_responder_that_never_answers_counts_by_the_policy(side: str) -> None:
    strict, other = one_asks(side), "b" if side == "a" else "a"
    strict.start("a")
    strict.run(PATIENCE + 1)
    assert f"says that the certificate of CN={other} is good: there is none" in told(strict, side)
    assert strict.endpoints[side].child_sas() == []
    lenient = one_asks(side, IF_PRESENT)
    lenient.start("a")
    lenient.run(PATIENCE - 0.5)
    assert lenient.endpoints[side].child_sas() == []
    assert lenient.run(5, lenient.is_up)


def test_an_answer_after_its_time_serves_nobody() -> None:
    pair = one_asks("b", IF_PRESENT)
    answers(pair, PATIENCE + 1, REVOKED)
    pair.establish()
    pair.run(10)
    assert pair.is_up()
    pair.a.let_down("b", pair.now)
    pair.run(1)
    pair.establish()  # nor the next one; who gave none is not asked so soon
    assert len(questions(pair)) == 1


@pytest.mark.parametrize("side", ["a", "b"])
def test_an_answer_that_nobody_waits_for_any_more_changes_nothing(side: str) -> None:
    pair = one_asks(side)
    answers(pair, 3)
    pair.start("a")
    pair.run(1)
    pair.endpoints["a"].let_down("b", pair.now)
    pair.kept_up.clear()
    pair.endpoints[side].let_down("b" if side == "a" else "a", pair.now)
    pair.run(5)
    assert pair.endpoints[side].child_sas() == []
    assert pair.endpoints[side].sessions == {}


def test_a_peer_that_has_gone_leaves_nothing_half_open() -> None:
    """The answer comes, the IKE SA is up, and nobody is there: liveness finds it."""
    pair = IkePair(a=knows("a", None), b=replace(knows("b", STRICT), liveness_after=5.0))
    answers(pair, 3)
    pair.start("a")
    pair.run(1)
    pair.blocked = True
    pair.run(120)
    assert pair.b.sessions == {}


def test_whoever_waits_is_half_open_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that cannot be judged yet is no way around the limits."""
    monkeypatch.setattr(half_open, "COOKIES_ABOVE", 1)
    pair = one_asks("b")
    answers(pair, 3)
    pair.start("a")
    pair.run(1)
    assert states(pair, "b") == [SessionState.AUTHENTICATING]
    assert not any("COOKIE" in one for one in pair.trace)
    pair.a.let_down("b", pair.now)
    pair.start("a")
    pair.run(1)
    assert any(one.startswith("b> IKE_SA_INIT {N(COOKIE)}") for one in pair.trace)


def test_whoever_waits_is_not_saved() -> None:
    pair = one_asks("b")
    answers(pair, 3)
    pair.start("a")
    pair.run(1)
    assert questions(pair)
    assert pair.saved["b"] == {}
    pair.restart("b")
    assert pair.run(200, pair.is_up)


def test_an_answer_serves_the_next_handshakes_too() -> None:
    pair = one_asks("b")
    answers(pair, 0.1)
    pair.establish()
    pair.a.let_down("b", pair.now)
    pair.run(5)
    pair.establish()
    assert len(questions(pair)) == 1
    pair.run(3600)
    pair.a.let_down("b", pair.now)
    pair.run(5)
    pair.establish()
    assert len(questions(pair)) == 2


def nonces(pair: IkePair, echo: Callable[[bytes], bytes]) -> list[bytes]:
    """What the responder finds in requests from now on; it answers with what is made of it."""
    found = []

    def responder(question: StatusQuestion) -> tuple[float, bytes]:
        request = ocsp.load_der_ocsp_request(question.request)
        nonce = request.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
        found.append(nonce)
        answered = (x509.OCSPNonce(echo(nonce)), False)
        return 0.1, respond(end("a"), root(), extensions=(answered,))

    pair.responder = responder
    return found


def test_each_question_has_a_nonce_that_its_answer_repeats() -> None:
    """RFC 9654, 2.1."""
    pair = one_asks("b")
    found = nonces(pair, bytes)
    pair.establish()
    pair.run(3600)
    pair.a.let_down("b", pair.now)
    pair.run(5)
    pair.establish()
    assert [len(one) for one in found] == [32, 32]
    assert found[0] != found[1]


@pytest.mark.parametrize("policy", [STRICT, IF_PRESENT])
def test_an_answer_to_another_question_is_none(policy: OcspPolicy) -> None:
    """As one that was recorded before the certificate was revoked."""
    pair = one_asks("b", policy)
    nonces(pair, lambda nonce: nonce[:-1])
    pair.start("a")
    assert pair.run(5, pair.is_up) == (policy is IF_PRESENT)
    if policy is STRICT:
        assert "the response has the nonce of another request" in told(pair, "b")


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("asking", ["a", "ab"])
def test_both_begin_at_once(asking: str, seed: int) -> None:
    """Where one asks, both its request's response and the peer's request wait for the answer."""
    a, b = (knows(side, STRICT if side in asking else None) for side in "ab")
    pair = IkePair(seed, a=a, b=b)
    answers(pair, 0.7)
    pair.start("a")
    pair.start("b")
    assert pair.run(3, lambda: pair.is_up() and pair.is_settled()), pair.trace
    assert sum("IKE_SA_INIT" in one and "reply" not in one for one in pair.trace) == 2
    assert sorted(questions(pair)) == [f"{side} asks {URL}" for side in asking]


def test_a_response_comes_along_with_the_certificate() -> None:
    """RFC 4806, in both directions: nobody else is asked."""
    stapled = [respond(end(side), root()) for side in "ab"]
    pair = IkePair(a=knows("a", STRICT, stapled[0]), b=knows("b", STRICT, stapled[1]))
    pair.establish()
    assert questions(pair) == []
    first, reply = (one for one in pair.trace if "IKE_SA_INIT" in one)
    assert "CERTREQ" not in first
    assert reply.count("CERTREQ") == 2
    revoked = respond(end("a"), root(), REVOKED)
    pair = IkePair(a=knows("a", None, revoked), b=knows("b", IF_PRESENT))
    pair.start("a")
    pair.run(2)
    assert "the certificate of CN=a is revoked (OCSP)" in told(pair, "b")


def test_a_response_is_sent_only_to_who_asks() -> None:
    pair = IkePair(
        a=knows("a", None, respond(end("a"), root(), REVOKED)),
        b=knows("b", None, respond(end("b"), root(), REVOKED)),
    )
    pair.establish()
    reply = next(one for one in pair.trace if one.startswith("b> IKE_SA_INIT"))
    assert reply.count("CERTREQ") == 1


def test_a_response_of_ike_sa_init_stays_small() -> None:
    """Whatever the number of authorities that peers at that path may have."""
    many = tuple(issue(f"root {number}", authority=True).certificate for number in range(20))
    known = knows("b", STRICT)
    trusted = TrustedAuthorities(Identity.fqdn("a"), (root().certificate, *many))
    requests = certificate_requests([known, replace(known, remote_credential=trusted)])
    assert [len(one.authorities) for one in requests] == [16 * 20, 0]
    assert certificate_requests([peer("b")]) == []


def test_answers_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ocsp_queries, "_MOST_KEPT", 2)
    pair, queries = one_asks("b"), OcspQueries(Random(1).randbytes)
    pair.start("a")
    pair.run(1)
    (session,) = pair.b.sessions.values()
    assert session.held is not None
    (question,) = session.held.questions
    several = [replace(question, url=f"{URL}{number}") for number in range(3)]
    session.held = replace(session.held, questions=tuple(several))
    queries.note(session, pair.now)
    for _, sent in queries.to_ask():
        queries.take(sent, b"", datetime(2026, 1, 1, tzinfo=UTC))
    assert list(queries.answers) == several[1:]
