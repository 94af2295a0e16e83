"""A tunnel to a peer that may be anywhere, and a CHILD_SA with it."""

from ipaddress import ip_address

from plutino.model.algorithms import DEFAULT_ALGORITHM, ESP_SUITES
from plutino.model.child_sa import ChildSa
from plutino.model.numbers import Spi
from plutino.model.secret import Secret
from plutino.model.traffic import EVERYTHING

NAME = "gw.example.net"
_SUITE = ESP_SUITES[DEFAULT_ALGORITHM]
_KEYS = _SUITE.keys(Secret(bytes(_SUITE.keymat_size)))
CHILD = ChildSa(
    tunnel="berlin",
    local=ip_address("192.0.2.1"),
    remote=ip_address("203.0.113.9"),
    spi_in=Spi(0x1001),
    spi_out=Spi(0x2001),
    keys_in=_KEYS,
    keys_out=_KEYS,
    local_ts=EVERYTHING,
    remote_ts=EVERYTHING,
)


def text_of(remote: str, ike: str = "", routes: str = '"10.2.0.0/16"') -> str:
    """A gateway file with keys by IKE, and these lines in its table."""
    return f"""
[tunnels.berlin]
interface = "ipsec1"
local = "192.0.2.1"
remote = "{remote}"
addresses = ["10.255.0.0/31"]
routes = [{routes}]
[tunnels.berlin.ike]
psk-file = "berlin.psk"
remote-id = "berlin.example"
{ike}
"""
