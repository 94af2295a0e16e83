"""Which proposal and which traffic selectors both sides agree upon (RFC 7296, 2.7 and 2.9)."""

from ipaddress import ip_address, ip_network

import pytest

from plutino.config.proposals import DEFAULT_ESP, DEFAULT_IKE, parse_proposal
from plutino.ike.errors import NoProposalChosenError
from plutino.ike.narrowing import is_subset, narrow, networks_of, selector_of
from plutino.ike.numbers import Protocol
from plutino.ike.payloads.proposal import Transform
from plutino.ike.payloads.traffic_selector import TrafficSelector
from plutino.ike.proposals import Suite, check_answer, choose, offer


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
    assert [str(one) for one in networks_of(selector)] == [
        "10.0.0.1/32", "10.0.0.2/31", "10.0.0.4/32",
    ]  # fmt: skip
