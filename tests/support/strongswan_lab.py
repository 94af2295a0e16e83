"""Paris by plutino, Berlin by strongSwan, on a wire between two namespaces."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from types import MappingProxyType
from typing import Final

from plutino.lab.demo import BERLIN, INNER, OUTER, PARIS, DemoOptions, make_hosts
from plutino.lab.guest.run import GUEST_VARIABLE
from plutino.lab.hosts import WIRE, Host
from plutino.lab.peers.packages import Peer, find_peer
from plutino.lab.peers.strongswan import StrongSwan
from plutino.lab.traffic import MARKER
from plutino.lab.wire import FrameKind, WireTap
from tests.support.guest import skip_loudly
from tests.support.ike_lab import PSK, passes, use_ike
from tests.support.multihomed_lab import run
from tests.support.nat_network import NatNetwork, nat_network
from tests.support.until import until

PLANE: Final = "kernel" if GUEST_VARIABLE in os.environ else "userspace"
TS: Final = (
    ("0.0.0.0/0,::/0", "0.0.0.0/0,::/0")
    if PLANE == "kernel"
    else ("10.255.0.1/32,fd00:1::1/128", "10.255.0.0/32,fd00:1::/128")
)
"""charon's own ESP would route all, its outer packets too, into its tunnel."""
IF_ID = 42
_LENGTHS = (31, 127)
_INSTALLED = (
    r"INSTALLED, [^\n]*\n\s+installed [^\n]*\n\s+in\s+([0-9a-f]{8})[^\n]*\n\s+out\s+([0-9a-f]{8})"
)
"""A CHILD_SA as ``swanctl --list-sas`` shows it; one that was replaced is there for a while."""


@dataclass(slots=True)
class Mixed:
    """The two ends, and who listens on the wire."""

    paris: Host
    berlin: Host
    strongswan: StrongSwan
    tap: WireTap
    network: NatNetwork | None

    @property
    def nat(self) -> NatNetwork:
        """What is between the two, where they were asked to have it."""
        assert self.network is not None
        return self.network

    def swanctl(self, *arguments: str) -> str:
        """Asks strongSwan for something."""
        return self.strongswan.swanctl(*arguments)

    def ike_sas(self) -> list[str]:
        """Initiator's SPIs of strongSwan's IKE SAs that are up."""
        listed = self.swanctl("--list-sas")
        return re.findall(r"paris: #\d+, ESTABLISHED, IKEv2, ([0-9a-f]{16})", listed)

    def spis(self) -> set[str]:
        """Those of the CHILD_SAs that strongSwan sends by."""
        listed = self.swanctl("--list-sas")
        pairs = re.findall(_INSTALLED, listed)
        return {spi for pair in pairs for spi in pair}

    def renewed(self, before: set[str]) -> bool:
        """Whether none of the CHILD_SAs of before is left, and there are others."""
        now = self.spis()
        return bool(now) and not now & before

    def until_it_passes(self) -> None:
        """Both versions through the tunnel, and nothing beside it."""
        try:
            until(lambda: passes(self.paris) and passes(self.paris, 1), "packets pass")
        except AssertionError as error:
            words = f"{error}\n{self.paris.last_words()}\n{self.strongswan.log()[-6000:]}"
            raise AssertionError(words) from None
        self.assert_nothing_in_clear()

    def make_interface(self) -> None:
        """The peer's device once more, where it went with charon."""
        if not self.strongswan.in_kernel:
            make_device(self.berlin, in_kernel=False)

    def assert_nothing_in_clear(self) -> None:
        """No frame that an observer could read was on the wire so far."""
        self.tap.catch_up()
        assert self.tap.count(FrameKind.CLEAR) == 0, self.tap.first_clear
        assert self.tap.marked == 0
        if self.network is not None:
            self.network.assert_nothing_in_clear()


def strongswan_files(peer: Peer) -> Path:
    """strongSwan's files; without them the test is skipped."""
    root = find_peer(peer)
    if root is None:
        skip_loudly("strongSwan's packages are not there: setup/setup.sh test brings them")
    assert root is not None
    return root


def swanctl_conf(
    family: int,
    *,
    ike: str = "aes256gcm16-prfsha384-x25519",
    esp: str = "aes256gcm16",
    connection: str = "",
    child: str = "",
    ts: tuple[str, str] = ("0.0.0.0/0,::/0", "0.0.0.0/0,::/0"),
) -> str:
    """One connection to Paris, by a pre-shared key."""
    here, there = OUTER[family][BERLIN], OUTER[family][PARIS]
    return f"""
connections {{ paris {{
  version = 2
  local_addrs = {here}
  remote_addrs = {there}
  proposals = {ike}
  {connection}
  local {{
    auth = psk
    id = {here}
  }}
  remote {{
    auth = psk
    id = {there}
  }}
  children {{ net {{
    local_ts = {ts[0]}
    remote_ts = {ts[1]}
    esp_proposals = {esp}
    if_id_in = {IF_ID}
    if_id_out = {IF_ID}
    {child}
  }} }}
}} }}
secrets {{ ike-paris {{ secret = "{PSK.strip()}" }} }}
"""


def by_public_keys(local: str | None, remote: str | None, connection: str = "") -> str:
    """swanctl.conf with these lines for the two ends; None for one with a pre-shared key."""
    conf = swanctl_conf(4, ts=TS, connection=connection)
    for mine, name, line in (
        ("192.0.2.2", "berlin.example", local),
        ("192.0.2.1", "paris.example", remote),
    ):
        old = f"auth = psk\n    id = {mine}\n"
        assert old in conf
        proof = "psk" if line is None else f"pubkey\n    {line}"
        conf = conf.replace(old, f"auth = {proof}\n    id = {name}\n")
    return conf


@contextmanager
def mixed_pair(
    peer: Peer,
    plane: str,
    conf: str,
    family: int = 4,
    *,
    paris: str = "",
    options: str = "",
    files: Mapping[str, bytes] = MappingProxyType({}),
    mode: str = "tunnel",
    encapsulation: str = "esp",
    second: str | None = None,
    in_kernel: bool | None = None,
    mtu: int = 1500,
    inside: str | None = None,
    edit: Callable[[str], str] = str,
) -> Iterator[Mixed]:
    """Both up; ``paris`` has lines of the IKE table there, ``options`` of charon's section.

    Where Paris has a ``second`` outer address, each of the two is an uplink, ``one`` and ``two``.
    ``files`` are written below the folders of both, ``paris/`` and ``swan/``. Both have a
    pre-shared key unless Paris's lines name another proof. strongSwan's ESP is the kernel's where
    Paris has it there, if ``in_kernel`` does not say otherwise. ``mtu`` is that of the wire. A NAT
    is before the host of the name ``inside``. ``edit`` changes the gateway file of Paris.
    """
    root = strongswan_files(peer)
    folder = Path(tempfile.mkdtemp(prefix="plutino-"))
    demo = DemoOptions(encapsulation, family, plane, mode=mode)
    network = None if inside is None else nat_network(folder, inside, demo)
    hosts = make_hosts(folder, demo) if network is None else network.hosts
    for host in hosts:
        run(host.namespace, f"ip link set {WIRE} mtu {mtu}")
    use_ike(hosts[0], BERLIN, paris)
    if mode == "transport":
        use_outer_addresses(hosts[0], OUTER[family][BERLIN])
    if second is not None:
        use_uplinks(hosts[0], OUTER[family][PARIS], second)
    place = folder / "swan"
    place.mkdir(mode=0o700)
    in_kernel = plane == "kernel" if in_kernel is None else in_kernel
    for name, octets in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch(mode=0o600)
        (folder / name).write_bytes(octets)
    hosts[0].file.write_text(edit(hosts[0].file.read_text()))
    swan = StrongSwan(hosts[1].namespace, place, root, conf, in_kernel, options)
    tap = WireTap(hosts[0].namespace, WIRE, marker=MARKER) if network is None else network.tap
    try:
        swan.start()
        make_device(hosts[1], in_kernel=in_kernel)
        hosts[0].start_daemon()
        yield Mixed(hosts[0], hosts[1], swan, tap, network)
    finally:
        swan.close()
        for host in hosts:
            host.close()
        tap.close()
        if network is not None:
            network.close()
        shutil.rmtree(folder)


def use_outer_addresses(host: Host, peer: str) -> None:
    """Transport mode is for what both ends send to each other themselves."""
    lines = host.file.read_text().splitlines()
    kept = [one for one in lines if not one.startswith(("addresses =", "routes ="))]
    at = kept.index('mode = "transport"')
    route = f'routes = ["{ip_network(peer)}"]'
    host.file.write_text("\n".join((*kept[:at], route, *kept[at:], "")))


def use_uplinks(host: Host, first: str, second: str) -> None:
    # The second address is the first one's equal, and stays without it.
    run(host.namespace, f"sysctl -qw net.ipv4.conf.{WIRE}.promote_secondaries=1")
    run(host.namespace, f"ip address add {second}/24 dev {WIRE}")
    uplinks = "".join(
        f'[uplinks.{name}]\ninterface = "{WIRE}"\nsource = "{address}"\nprobe.kind = "none"\n'
        for name, address in (("one", first), ("two", second))
    )
    text = host.file.read_text().replace(f'local = "{first}"', 'uplinks = ["one", "two"]')
    top, mark, rest = text.partition("[tunnels")
    host.file.write_text(f"{top}{uplinks}{mark}{rest}")


def make_device(host: Host, *, in_kernel: bool) -> None:
    """The peer's own XFRM interface, or the TUN device that charon has made."""
    name = "xfrm42" if in_kernel else "ipsec0"
    with host.namespace.entered():
        if in_kernel:
            _ip(f"link add {name} type xfrm dev {WIRE} if_id {IF_ID}")
        _ip(f"link set {name} up mtu 1300")
        for address, other, length in zip(INNER[BERLIN], INNER[PARIS], _LENGTHS, strict=True):
            version = "-6" if ":" in address else "-4"
            nodad = " nodad" if version == "-6" else ""
            _ip(f"{version} address add {address}/{length} dev {name}{nodad}")
            _ip(f"{version} route replace {other} dev {name}")


def _ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True)
