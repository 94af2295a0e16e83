"""What the IKE process is told of our addresses, and that it is told when they are none."""

from plutino.config.load import load_text
from plutino.daemon.ike_initiation import IkeInitiation
from plutino.daemon.ike_peers import Ways
from plutino.ike.config import PeerConfig
from plutino.ike_process.commands import Command, SetOwnAddresses
from plutino.model.numbers import Mark
from plutino.model.path import Path, TunnelPaths
from plutino.model.policy import IpAddress
from tests.support.ike_network import A2, A, B, peer

TEXT = """
[tunnels.net]
interface = "ipsec1"
local = "192.0.2.1"
remote = "198.51.100.2"
ike.psk-file = "berlin.psk"
ike.start = "listen"
"""


def ways(*addresses: IpAddress | None) -> Ways:
    """One for each of ours."""
    every = tuple(
        Path(str(number), one, B, "net", Mark(0), usable=one is not None, probe="")
        for number, one in enumerate(addresses)
    )
    return Ways({"net": TunnelPaths(every, every[0], every[0])})


def test_who_has_lost_its_further_addresses_is_told_so() -> None:
    told: list[Command] = []
    peers: dict[str, PeerConfig] = {"net": peer("a")}
    initiation = IkeInitiation(
        load_text(TEXT, "gateway.toml"), peers, lambda *commands: told.extend(commands)
    )
    for addresses, expected in (
        ((A,), []),
        ((A, A2), [(A, A2)]),
        ((A2, A), [(A2, A)]),
        ((A2,), [()]),
        ((A2,), []),
        ((A, A2), [(A, A2)]),
        ((None, None), [()]),
    ):
        told.clear()
        initiation.ways = ways(*addresses)
        initiation.begin()
        found = [one for one in told if isinstance(one, SetOwnAddresses)]
        assert [one.addresses for one in found] == expected
