"""Tunnels that get their keys by IKE, between two gateways of ours."""

import re

import pytest

from tests.support.ike_lab import PSK, ike_pair, passes, until_it_passes
from tests.support.multihomed_lab import run
from tests.support.until import until


@pytest.mark.parametrize("encapsulation", ["esp", "udp"])
@pytest.mark.parametrize("family", [4, 6])
def test_both_versions_pass_with_keys_by_ike(plane: str, family: int, encapsulation: str) -> None:
    with ike_pair(plane, family, encapsulation) as pair:
        until_it_passes(pair)
        status = pair.paris.plutino("status").stdout
        ends = ("192.0.2.1", "192.0.2.2") if family == 4 else ("2001:db8::1", "2001:db8::2")
        assert f"IKE up for 0 s, {ends[0]} - {ends[1]}" in re.sub(r"for \d+ s", "for 0 s", status)
        pair.assert_nothing_in_clear()


def test_another_key_is_refused_and_status_says_so(plane: str) -> None:
    with ike_pair(plane, start=False) as pair:
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
