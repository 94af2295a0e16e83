"""docs/peers.md: libreswan's two files, pasted, but for the lab's address and key."""

from plutino.lab.demo import BERLIN, OUTER
from plutino.lab.peers.packages import Peer
from tests.support.documented import block
from tests.support.ike_lab import PSK
from tests.support.libreswan_lab import NAMES, mixed_pair


def test_the_files_of_the_page_bring_a_tunnel(libreswan: Peer) -> None:
    conf = block("peers.md", "# /etc/ipsec.d/paris.conf")
    assert "left=198.51.100.2" in conf
    section = conf.partition("conn paris\n")[2].replace("198.51.100.2", OUTER[4][BERLIN])
    secrets = block("peers.md", "# /etc/ipsec.d/paris.secrets")
    assert "WHAT IS IN berlin.psk" in secrets
    secrets = secrets.replace("WHAT IS IN berlin.psk", PSK.strip())
    wrong = "that of all others is another one"
    with mixed_pair(libreswan, section, paris=NAMES, psk=wrong, secrets=secrets) as lab:
        lab.until_it_passes()
