"""docs/peers.md: strongSwan's file, pasted, but for the lab's address, key and selectors."""

from plutino.lab.demo import BERLIN, OUTER
from plutino.lab.peers.packages import Peer
from tests.support.documented import block
from tests.support.ike_lab import PSK
from tests.support.strongswan_lab import PLANE, TS, mixed_pair

NAMES = 'local-id = "paris.example"\nremote-id = "berlin.example"'


def test_the_file_of_the_page_brings_a_tunnel(strongswan: Peer) -> None:
    conf = block("peers.md", "# /etc/swanctl/conf.d/paris.conf")
    for old, new in (
        ("198.51.100.2", OUTER[4][BERLIN]),
        ("WHAT IS IN berlin.psk", PSK.strip()),
        ("local_ts  = 0.0.0.0/0,::/0", f"local_ts = {TS[0]}"),
        ("remote_ts = 0.0.0.0/0,::/0", f"remote_ts = {TS[1]}"),
    ):
        assert old in conf
        conf = conf.replace(old, new)
    with mixed_pair(strongswan, PLANE, conf, paris=NAMES) as lab:
        lab.until_it_passes()
