"""Tunnels that get their keys by IKE, between two gateways of ours."""

import pytest

from tests.support.ike_lab import ike_pair, until_it_passes


@pytest.mark.parametrize("encapsulation", ["esp", "udp"])
@pytest.mark.parametrize("family", [4, 6])
def test_both_versions_pass_with_keys_by_ike(plane: str, family: int, encapsulation: str) -> None:
    with ike_pair(plane, family, encapsulation) as pair:
        until_it_passes(pair)
        pair.assert_nothing_in_clear()
