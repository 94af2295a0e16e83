"""Which proposal and which traffic selectors both sides agree upon (RFC 7296, 2.7 and 2.9)."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from plutino.config.proposals import DEFAULT_ESP, DEFAULT_IKE, parse_proposal
from plutino.ike import narrowing
from plutino.ike.errors import NoProposalChosenError
from plutino.ike.narrowing import is_subset, meeting, narrow, prefixes_of, selector_of
from plutino.ike.numbers import Protocol
from plutino.ike.payloads.proposal import Proposal, SaPayload, Transform
from plutino.ike.payloads.traffic_selector import TrafficSelector
from plutino.ike.proposals import Suite, check_answer, choose, offer
from plutino.model.traffic import NetworkSelector


def suite(text: str, *, for_ike: bool = True) -> Suite:
    return tuple(Transform(*one) for one in parse_proposal(text, for_ike=for_ike))


def agree(offered: list[str], own: list[str], *, for_ike: bool = True) -> dict[int, Transform]:
    suites = [suite(one, for_ike=for_ike) for one in offered]
    protocol = Protocol.IKE if for_ike else Protocol.ESP
    answer = choose(
        offer(protocol, b"", suites), [suite(one, for_ike=for_ike) for one in own], protocol
    )
    assert check_answer(answer.answer(b""), suites, protocol, 0).transforms == answer.transforms
    return answer.transforms


def test_our_order_of_preference_counts() -> None:
    chosen = agree(
        ["aes128-sha256-x25519", "aes256gcm16-prfsha384-ecp256-x25519"],
        ["aes256gcm16-prfsha384-x25519", "aes128-sha256-x25519"],
    )
    assert chosen[1] == Transform(1, 20, 256)
    assert 3 not in chosen


@pytest.mark.parametrize(
    ("offered", "own"),
    [
        ("aes128gcm16-prfsha256-x25519", "aes256gcm16-prfsha256-x25519"),
        ("aes128-sha256-x25519", "aes128-sha384-x25519"),
        ("aes128gcm16-prfsha256-x25519", "aes128gcm16-prfsha512-x25519"),
        ("aes128gcm16-prfsha256-x25519", "aes128gcm16-prfsha256-ecp256"),
        ("aes128gcm16-prfsha256-x25519-ke1_mlkem768", "aes128gcm16-prfsha256-x25519"),
    ],
)
def test_what_does_not_meet_is_refused(offered: str, own: str) -> None:
    for one, other in ((offered, own), (own, offered)):
        with pytest.raises(NoProposalChosenError):
            agree([one], [other])


def test_a_refusal_says_what_was_offered_and_what_is_allowed() -> None:
    with pytest.raises(NoProposalChosenError) as refused:
        agree(["aes256gcm16-esn"] * 2, ["aes128gcm16-x25519-noesn"], for_ike=False)
    assert "offered aes256gcm16-esn, aes256gcm16-esn; " in refused.value.reason
    assert "allowed aes128gcm16-x25519-noesn" in refused.value.reason
    with pytest.raises(NoProposalChosenError) as refused:
        choose(offer(Protocol.IKE, b"", [(Transform(1, 9999),)] * 255), [], Protocol.IKE)
    assert "offered 1:9999, 1:9999, " in refused.value.reason
    assert "allowed none" in refused.value.reason
    assert len(refused.value.reason) < 500


def test_esp_without_a_key_exchange_and_with_esn_or_not() -> None:
    assert agree(["aes128gcm16-esn-noesn"], ["aes128gcm16-noesn"], for_ike=False)[5].id == 0
    assert agree(["aes128gcm16-esn-noesn"], ["aes128gcm16"], for_ike=False)[5].id == 1
    with pytest.raises(NoProposalChosenError):
        agree(["aes128gcm16-noesn"], ["aes128gcm16-esn"], for_ike=False)


def test_defaults_agree_with_themselves() -> None:
    assert agree(list(DEFAULT_IKE), list(DEFAULT_IKE))[1] == Transform(1, 20, 256)
    assert agree(list(DEFAULT_ESP), list(DEFAULT_ESP), for_ike=False)[5].id == 1


@pytest.mark.parametrize(
    ("text", "for_ike", "why"),
    [
        ("aes256gcm16-ke1_mlkem768", False, "come after a first key exchange"),
        ("aes256gcm17-prfsha256-x25519", True, "did you mean aes256gcm16"),
        ("aes256gcm16-modp1024", True, "modp1024 is weak"),
        ("aes256-x25519", True, "an integrity algorithm is missing"),
        ("aes256gcm16-sha256-x25519", True, "has integrity of its own"),
        ("aes256gcm16-prfsha256", True, "a key exchange is missing"),
        ("aes256gcm16-aes256-sha256-x25519", True, "need two proposals"),
        ("x25519", True, "an encryption algorithm is missing"),
        ("aes256gcm16-prfsha256", False, "a PRF is of IKE alone"),
    ],
)
def test_words_that_make_no_proposal(text: str, for_ike: bool, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_proposal(text, for_ike=for_ike)


def test_a_peer_cannot_make_narrowing_long() -> None:
    """All that a payload has room for, each in part of each network of ours: 4080 selectors."""
    mine = [selector_of(ip_network(f"10.{number}.0.0/16")) for number in range(16)]
    everywhere = selector_of(ip_network("0.0.0.0/0"), 6)
    offered = [replace(everywhere, first_port=one, last_port=one) for one in range(0, 510, 2)]
    found = narrow(offered, mine)
    assert len(found) == len(offered) + len(mine)
    assert is_subset(found, mine)
    assert is_subset(found, offered)


def test_what_is_too_many_is_not_counted_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranges of IPv6 that make 252 prefixes each."""
    looked_at = []

    def counted(one: TrafficSelector) -> tuple[NetworkSelector, ...]:
        looked_at.append(one)
        return prefixes_of(one)

    monkeypatch.setattr(narrowing, "prefixes_of", counted)
    ends = ip_address("::1"), ip_address("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe")
    several = [TrafficSelector(*ends, 6, port, port) for port in range(255)]
    assert narrowing.count_of(several, several[:1], 1024) > 1024
    assert len(looked_at) == 6


def test_selectors_are_narrowed_to_what_both_want() -> None:
    everything = [selector_of(ip_network("0.0.0.0/0")), selector_of(ip_network("::/0"))]
    mine = [selector_of(ip_network("10.0.0.0/8"), 6, 443)]
    assert narrow(everything, mine) == tuple(mine)
    assert narrow(mine, everything) == tuple(mine)
    assert narrow(mine, [selector_of(ip_network("11.0.0.0/8"))]) == ()
    assert narrow(mine, [selector_of(ip_network("10.0.0.0/8"), 17)]) == ()
    parts = [selector_of(ip_network("10.1.0.0/16"), 6, 443), *mine]
    assert narrow(everything, parts) == tuple(mine)
    assert is_subset(mine, everything)
    assert not is_subset(everything, mine)


def test_a_range_becomes_the_prefixes_that_make_it_up() -> None:
    selector = TrafficSelector(ip_address("10.0.0.1"), ip_address("10.0.0.4"))
    assert [str(one) for one in prefixes_of(selector)] == [
        "10.0.0.1/32", "10.0.0.2/31", "10.0.0.4/32",
    ]  # fmt: skip


def test_what_has_no_counterpart_is_of_no_packet() -> None:
    tcp = selector_of(ip_network("10.0.0.0/24"), 6, 443)
    udp = selector_of(ip_network("10.0.1.0/24"), 17)
    web, v6 = selector_of(ip_network("10.1.0.0/24"), 6, 80), selector_of(ip_network("fd00::/64"), 6)
    assert meeting([tcp, udp], [web, v6]) == ((tcp,), (web,))
    assert meeting([udp], [web]) == ((), ())
    everything = selector_of(ip_network("0.0.0.0/0"))
    assert meeting([tcp, udp], [everything]) == ((tcp, udp), (everything,))


GCM = suite("aes128gcm16-noesn", for_ike=False)


@pytest.mark.parametrize(
    "proposals",
    [
        (),
        (Proposal(1, 3, b"\1\2\3\4", GCM),) * 2,
        (Proposal(2, 3, b"\1\2\3\4", GCM),),
        (Proposal(1, 2, b"\1\2\3\4", GCM),),
        (Proposal(1, 3, b"\1\2\3", GCM),),
        (Proposal(1, 3, b"\1\2\3\4", (Transform(1, 20, 256), GCM[1])),),
        (Proposal(1, 3, b"\1\2\3\4", (*GCM, Transform(1, 20, 128))),),
        (Proposal(1, 3, b"\1\2\3\4", (*GCM, Transform(4, 31))),),
        (Proposal(1, 3, b"\1\2\3\4", ()),),
    ],
    ids=["none", "two", "number", "protocol", "SPI", "key", "doubled", "more", "empty"],
)
def test_answers_that_do_not_meet_an_offer(proposals: tuple[Proposal, ...]) -> None:
    """RFC 7296, 2.7 and 3.3.6: the initiator checks what was chosen."""
    good = SaPayload((Proposal(1, 3, b"\1\2\3\4", GCM),))
    assert check_answer(good, [GCM], Protocol.ESP, 4).spi == b"\1\2\3\4"
    with pytest.raises(NoProposalChosenError):
        check_answer(SaPayload(proposals), [GCM], Protocol.ESP, 4)


def test_key_length_only_where_the_key_varies() -> None:
    """RFC 7296, 3.3.5: absent, doubled or out of place, it makes another transform."""
    chacha, prf = suite("chacha20poly1305-prfsha256-x25519"), Transform(2, 5)
    assert chacha[0] == Transform(1, 28)
    for offered in (
        (Transform(1, 28, 256), prf, Transform(4, 31)),
        (Transform(1, 28), Transform(2, 5, 256), Transform(4, 31)),
    ):
        with pytest.raises(NoProposalChosenError):
            choose(SaPayload((Proposal(1, 1, b"", offered),)), [chacha], Protocol.IKE)
    for strange in (
        Transform(1, 20),
        Transform(1, 20, 128, ((0x800E, b"\1\0"),)),
        Transform(1, 20, None, ((14, b"\0\x80"),)),
    ):
        with pytest.raises(NoProposalChosenError):
            choose(SaPayload((Proposal(1, 3, b"", (strange, GCM[1])),)), [GCM], Protocol.ESP)


def test_opaque_ports_never_meet() -> None:
    """RFC 7296, 3.13.1: start 65535 with end 0."""
    opaque = TrafficSelector(ip_address("10.0.0.0"), ip_address("10.0.0.9"), 6, 65535, 0)
    everything = selector_of(ip_network("0.0.0.0/0"))
    assert narrow([opaque], [everything]) == ()
    assert not is_subset([opaque], [everything])
