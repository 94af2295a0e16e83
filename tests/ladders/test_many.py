"""Thousands of tunnels on one gateway: all come up, and none runs into its retransmissions."""

import os
from dataclasses import replace
from ipaddress import ip_address

from plutino.ike.path import first_path
from plutino.ike.sessions import MOST_AT_ONCE
from tests.support.ike_network import B, Network, peer

TUNNELS = int(os.environ.get("PLUTINO_LADDER_TUNNELS", "1000"))


def test_all_tunnels_of_a_gateway_come_up() -> None:
    network = Network(seed=1)
    network.trace = []
    addresses = [ip_address(0x0A000001 + number) for number in range(TUNNELS)]
    a = network.add(
        "a",
        None,
        [replace(peer("a"), name=f"b{n}", local=one) for n, one in enumerate(addresses)],
    )
    b = network.add(
        "b",
        B,
        [replace(peer("b"), name=f"a{n}", remotes=(one,)) for n, one in enumerate(addresses)],
    )
    network.addresses |= dict.fromkeys(addresses, "a")
    network.silent = True
    most = 0
    for number, address in enumerate(addresses):
        a.keep_up(f"b{number}", first_path(address, B), ("net",), network.now)
    for _ in range(10 * TUNNELS // MOST_AT_ONCE + 100):
        network.run(0.02)
        on_their_way = sum(1 for one in a.sessions.values() if not one.is_established)
        most = max(most, on_their_way)
        if len(a.child_sas()) == TUNNELS:
            break
    assert len(a.child_sas()) == len(b.child_sas()) == TUNNELS
    assert most <= MOST_AT_ONCE
    payloads = [one.payload for one in network.sent]
    assert len(payloads) == len(set(payloads)), "something was sent twice"
