"""Paris with two uplinks to Berlin: their files, and which one carries the tunnel."""

from ipaddress import ip_address

from plutino.lab.traffic import ping
from tests.support.multihomed_lab import (
    ADDRESS,
    UPLINKS,
    MultihomedLab,
)

INNER = {"paris": "10.255.0.0", "berlin": "10.255.0.1"}
NETWORK = {"paris": "10.1.0.0/16", "berlin": "10.2.0.0/16"}


def tunnel(here: str, there: str, ends: str, more: str = "", encapsulation: str = "esp") -> str:
    """A tunnel's table, with the lines that say from where to where."""
    return f"""
[tunnels.{there}]
interface = "ipsec1"
{ends}
addresses = ["{INNER[here]}/31"]
routes = ["{NETWORK[there]}"]
encapsulation = "{encapsulation}"
static.key-file = "main.keys"
{more}
"""


def configure(
    lab: MultihomedLab, version: int = 4, *, standby: bool = True, encapsulation: str = "esp"
) -> None:
    """Paris goes by isp1, and by isp2 when that is lost; Berlin knows both of its addresses."""
    lab.make_keys("main")
    lab.make_keys("second")
    one, two, far = (ADDRESS[version][link] for link in ("isp1", "isp2", "wan"))
    by_isp2 = '[[tunnels.berlin.standby]]\nuplink = "isp2"\nkey-file = "second.keys"'
    to_isp2 = f'[[tunnels.paris.standby]]\nremote = "{two}"\nkey-file = "second.keys"'
    remotes = "" if standby else f'\nremotes = ["{two}"]'
    lab.write(
        lab.paris,
        UPLINKS
        + tunnel(
            "paris",
            "berlin",
            f'uplinks = ["isp1", "isp2"]\nremote = "{far}"',
            by_isp2 if standby else "",
            encapsulation,
        ),
    )
    lab.write(
        lab.berlin,
        tunnel(
            "berlin",
            "paris",
            f'local = "{far}"\nremote = "{one}"{remotes}',
            to_isp2 if standby else "",
            encapsulation,
        ),
    )


def passes(lab: MultihomedLab, count: int = 1) -> bool:
    """Whether so many pings are answered, each way."""
    there = ping(lab.paris.namespace, ip_address(INNER["berlin"]), count=count, timeout=0.5)[0]
    back = ping(lab.berlin.namespace, ip_address(INNER["paris"]), count=count, timeout=0.5)[0]
    return there == back == count


def uplink_of(lab: MultihomedLab) -> str | None:
    """What `status` says."""
    report = lab.paris.status()
    return None if report is None else report.tunnels[0].uplink
