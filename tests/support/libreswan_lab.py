"""Paris by plutino, Berlin by libreswan, on a wire between two namespaces; in guests only."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from types import MappingProxyType
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates

from plutino.control.report import State
from plutino.lab.demo import BERLIN, INNER, OUTER, PARIS, DemoOptions, make_hosts
from plutino.lab.hosts import WIRE, Host
from plutino.lab.peers.libreswan import P12_PASSWORD, Libreswan
from plutino.lab.peers.packages import LIBRESWAN, Peer, find_peer
from plutino.lab.traffic import MARKER, ping
from plutino.lab.wire import FrameKind, WireTap
from tests.support.guest import skip_loudly
from tests.support.ike_lab import PSK, use_ike
from tests.support.multihomed_lab import run
from tests.support.nat_network import NatNetwork, nat_network
from tests.support.pki import Certified
from tests.support.strongswan_lab import use_outer_addresses, use_uplinks
from tests.support.until import until

ANY: Final = {4: ("0.0.0.0/0", "0.0.0.0/0"), 6: ("::/0", "::/0")}
"""Selectors by IP version: a connection of libreswan 4 has one of a side."""
NAMES: Final = 'local-id = "paris.example"\nremote-id = "berlin.example"\n'
BY_NAME: Final = "authby=secret\nleftid=@berlin.example\nrightid=@paris.example"
"""Who is not known by an address: lines of Paris, and of libreswan."""


@dataclass(slots=True)
class Mixed:
    """The two ends, and who listens on the wire. ``versions`` are those inside."""

    paris: Host
    berlin: Host
    libreswan: Libreswan
    tap: WireTap
    versions: tuple[int, ...]
    interface: str
    peer: Peer
    network: NatNetwork | None

    @property
    def nat(self) -> NatNetwork:
        """What is between the two, where they were asked to have it."""
        assert self.network is not None
        return self.network

    def whack(self, *arguments: str) -> str:
        """Tells libreswan something."""
        return self.libreswan.whack(*arguments)

    def rekey_child(self, name: str = "paris") -> None:
        """libreswan makes another CHILD_SA."""
        self.whack("--name", name, "--rekey-ipsec" if self.peer is LIBRESWAN else "--rekey-child")

    def rekey_ike(self) -> None:
        """libreswan makes another IKE SA, by the connection that has it."""
        words = self.libreswan.states()[max(self.ike_sas())]
        self.whack("--name", words.split('"')[1], "--rekey-ike")

    def child_renewed(self, before: set[int]) -> bool:
        """Whether there is one CHILD_SA, and another than before."""
        now = self.children()
        return len(now) == 1 and not now & before

    def ike_renewed(self, before: set[int]) -> bool:
        """Whether there is one IKE SA, and another than before."""
        now = self.ike_sas()
        return len(now) == 1 and not now & before

    def passes(self) -> bool:
        """Whether a ping of each version is answered.

        pluto makes its interface with the first CHILD_SA, and gives it no addresses.
        """
        if not self.is_up() or not self.children():
            return False
        address_interface(self.berlin, self.interface)
        inner = [ip_address(INNER[BERLIN][version == 6]) for version in self.versions]
        return all(ping(self.paris.namespace, one, count=1, timeout=0.5)[0] for one in inner)

    def is_up(self) -> bool:
        """Whether Paris says so."""
        report = self.paris.status()
        return report is not None and report.state is State.UP

    def until_it_passes(self) -> None:
        """Each version through the tunnel, and nothing beside it."""
        try:
            until(self.passes, "packets pass", seconds=60)
        except AssertionError as error:
            words = f"{error}\n{self.paris.last_words()}\n{self.libreswan.log()[-4000:]}"
            raise AssertionError(words) from None
        self.assert_nothing_in_clear()

    def children(self) -> set[int]:
        """libreswan's CHILD_SAs that are up, by its numbers."""
        return {one for one, words in self.libreswan.states().items() if "CHILD_SA" in words}

    def ike_sas(self) -> set[int]:
        """libreswan's IKE SAs that are up, by its numbers."""
        return {one for one, words in self.libreswan.states().items() if "IKE_SA" in words}

    def assert_nothing_in_clear(self) -> None:
        """No frame that an observer could read was on the wire so far."""
        self.tap.catch_up()
        assert self.tap.count(FrameKind.CLEAR) == 0, self.tap.first_clear
        assert self.tap.marked == 0
        if self.network is not None:
            self.network.assert_nothing_in_clear()


def connection(
    family: int = 4,
    *,
    ts: tuple[str, str] = ANY[4],
    auth: str = "authby=secret",
    lines: str = "pfs=no",
) -> str:
    """A section for Paris; ``ts`` is Berlin's selector and that of Paris.

    By ``lines`` algorithms are named, or they are libreswan's own, with perfect forward secrecy.
    """
    every = [
        "ikev2=insist",
        f"left={OUTER[family][BERLIN]}",
        f"right={OUTER[family][PARIS]}",
        f"leftsubnet={ts[0]}",
        f"rightsubnet={ts[1]}",
        *auth.splitlines(),
        "ipsec-interface=yes",
        "retransmit-interval=50",
        "auto=ignore",
        *lines.splitlines(),
    ]
    return "".join(f"    {one}\n" for one in every)


@contextmanager
def mixed_pair(
    peer: Peer,
    connections: str | Mapping[str, str],
    family: int = 4,
    *,
    paris: str = "",
    files: Mapping[str, bytes] = MappingProxyType({}),
    versions: tuple[int, ...] = (4,),
    psk: str = PSK,
    interface: str = "ipsec1",
    edit: Callable[[str], str] = str,
    mtu: int = 1500,
    inside: str | None = None,
    plane: str = "kernel",
    mode: str = "tunnel",
    uplinks: tuple[str, str] | None = None,
    setup: str = "",
    secrets: str = "",
) -> Iterator[Mixed]:
    """Both up; ``paris`` has lines of the IKE table there; ``versions`` are the IP versions inside.

    ``files`` are written below the folders of both, ``paris/`` and ``lsw/``. Both have a
    pre-shared key unless Paris's lines name another proof. ``psk`` is Berlin's, and ``interface``
    has its inner addresses. ``edit`` changes the gateway file of Paris. ``mtu`` is that of the
    wire. A NAT is before the host of the name ``inside``. ``plane`` is that of Paris, and
    ``uplinks`` are two outer addresses there. ``setup`` and ``secrets`` are further lines of
    libreswan's.
    """
    root = find_peer(peer)
    if root is None:
        skip_loudly("libreswan's packages are not there: setup/setup.sh test brings them")
    assert root is not None
    folder = Path(tempfile.mkdtemp(prefix="plutino-"))
    demo = DemoOptions("esp", family, plane, mode=mode)
    network = None if inside is None else nat_network(folder, inside, demo)
    hosts = make_hosts(folder, demo) if network is None else network.hosts
    for host in hosts:
        run(host.namespace, f"ip link set {WIRE} mtu {mtu}")
    use_ike(hosts[0], BERLIN, paris)
    (folder / "lsw").mkdir(mode=0o700)
    for name, octets in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch(mode=0o600)
        (folder / name).write_bytes(octets)
    hosts[0].file.write_text(edit(hosts[0].file.read_text()))
    if uplinks is not None:
        use_uplinks(hosts[0], *uplinks)
    if mode == "transport":
        use_outer_addresses(hosts[0], OUTER[family][BERLIN])
    sections = {"paris": connections} if isinstance(connections, str) else dict(connections)
    keys = f': PSK "{psk.strip()}"\n{secrets}'
    lines = "".join(f"    {one}\n" for one in setup.splitlines())
    lsw = Libreswan(hosts[1].namespace, folder / "lsw", root, sections, keys, lines)
    tap = WireTap(hosts[0].namespace, WIRE, marker=MARKER) if network is None else network.tap
    lab = Mixed(hosts[0], hosts[1], lsw, tap, versions, interface, peer, network)
    try:
        if interface == "lo":  # policies divert what else is routed
            run(hosts[1].namespace, f"ip route add {INNER[PARIS][0]}/32 dev {WIRE}")
        lsw.start()
        hosts[0].start_daemon()
        until(lambda: hosts[0].status() is not None, "plutino listens", seconds=60)
        yield lab
    finally:
        for process in (hosts[0].daemon, lsw.process):
            if process is not None:
                process.kill()
                process.wait()
        for host in hosts:
            host.namespace.close()  # and with it all that the kernel has
        tap.close()
        if network is not None:
            network.close()
        shutil.rmtree(folder)


def p12(name: str, one: Certified, *issuers: Certified) -> bytes:
    """Key and certificate as NSS takes them."""
    assert isinstance(one.key, RSAPrivateKey | EllipticCurvePrivateKey)
    encryption = BestAvailableEncryption(P12_PASSWORD.encode())
    return serialize_key_and_certificates(
        name.encode(),
        one.key,
        one.certificate,
        [issuer.certificate for issuer in issuers],
        encryption,
    )


def address_interface(host: Host, name: str) -> None:
    """Berlin's inner addresses, if they are not there: to be routed by are those of a tunnel."""
    lengths = (32, 128) if name == "lo" else (31, 127)
    for address, length in zip(INNER[BERLIN], lengths, strict=True):
        nodad = "nodad" if ":" in address else ""
        run(host.namespace, f"ip address replace {address}/{length} dev {name} {nodad}")
