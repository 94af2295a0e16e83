"""ESP by judges that are not ours: scapy and tshark read what we send, we read what scapy sends."""

import os
import socket
import subprocess
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, IPv6
from scapy.layers.ipsec import ESP, SecurityAssociation
from scapy.layers.l2 import Ether

from plutino.config.static_keys import StaticKey
from plutino.lab.demo import BERLIN, INNER, OUTER, PARIS
from plutino.lab.hosts import WIRE
from plutino.lab.pcapng import PcapngWriter
from plutino.lab.traffic import MARKER, ping
from plutino.lab.wire import FrameKind, classify
from tests.support.lab import Pair, running_pair
from tests.support.until import until

pytestmark = pytest.mark.root

FORMS = [(4, "esp"), (6, "esp"), (4, "udp"), (6, "udp")]


@pytest.fixture(params=FORMS, ids=lambda form: f"IPv{form[0]}-{form[1]}")
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Both gateways, for each family outside and each encapsulation."""
    family, encapsulation = request.param
    with running_pair(family, encapsulation) as one:
        yield one


def is_esp(frame: bytes) -> bool:
    return classify(frame) in (FrameKind.ESP, FrameKind.ESP_IN_UDP)


def outer_of(pair: Pair) -> tuple[int, bool]:
    """Family outside, and whether ESP is in UDP."""
    report = pair.paris.status()
    assert report is not None
    (tunnel,) = report.tunnels
    return ip_address(tunnel.local).version, tunnel.encapsulation == "udp"


def scapy_sa(pair: Pair, source: str, key: StaticKey) -> Any:
    """scapy's idea of one of our SAs."""
    family, in_udp = outer_of(pair)
    destination = BERLIN if source == PARIS else PARIS
    header = (IP if family == 4 else IPv6)(
        src=OUTER[family][source], dst=OUTER[family][destination]
    )
    return SecurityAssociation(
        ESP,
        spi=int(key.spi),
        crypt_algo="AES-GCM",
        crypt_key=key.keymat.reveal(),
        tunnel_header=header,
        nat_t_header=UDP(sport=4500, dport=4500) if in_udp else None,
        esn_en=True,
        esn=0,
    )


def inner_packets(pair: Pair, *senders: str) -> list[Any]:
    """What scapy finds inside the ESP that the senders' engines put on the wire so far."""
    keys = pair.keys(pair.paris)
    family, _ = outer_of(pair)
    key_of = {PARIS: keys.outbound, BERLIN: keys.inbound}
    sas = {OUTER[family][sender]: scapy_sa(pair, sender, key_of[sender]) for sender in senders}
    packets = (Ether(frame).payload for frame, _ in pair.frames if is_esp(frame))
    return [sas[packet.src].decrypt(packet) for packet in packets if packet.src in sas]


def test_scapy_reads_what_we_send(pair: Pair) -> None:
    for text in INNER[BERLIN]:
        assert ping(pair.paris.namespace, ip_address(text))[0] == 3
    packets = inner_packets(pair, PARIS, BERLIN)
    requests = [packet for packet in packets if packet.haslayer(ICMP) and packet[ICMP].type == 8]
    replies = [packet for packet in packets if packet.haslayer(ICMP) and packet[ICMP].type == 0]
    assert (len(requests), len(replies)) == (3, 3)
    assert sum(packet.haslayer(ICMPv6EchoRequest) for packet in packets) == 3
    assert sum(packet.haslayer(ICMPv6EchoReply) for packet in packets) == 3
    assert (requests[0].src, requests[0].dst) == (INNER[PARIS][0], INNER[BERLIN][0])
    assert all(MARKER in bytes(packet) for packet in requests)
    sequences = [Ether(frame)[ESP].seq for frame, _ in pair.frames if is_esp(frame)]
    assert 0 not in sequences
    pair.assert_nothing_in_clear()


def test_tshark_reads_what_we_send(pair: Pair, tmp_path: Path) -> None:
    for text in INNER[BERLIN]:
        assert ping(pair.paris.namespace, ip_address(text))[0] == 3
    capture = tmp_path / "wire.pcapng"
    with capture.open("wb") as file:
        writer = PcapngWriter(file, WIRE)
        for frame, at in pair.frames:
            writer.write(frame, at)
    family, _ = outer_of(pair)
    keys = pair.keys(pair.paris)
    profile = tmp_path / "wireshark"
    profile.mkdir(mode=0o700)
    lines = []
    for source, destination, key in (
        (PARIS, BERLIN, keys.outbound),
        (BERLIN, PARIS, keys.inbound),
    ):
        fields = (
            f"IPv{family}",
            OUTER[family][source],
            OUTER[family][destination],
            str(key.spi),
            "AES-GCM with 16 octet ICV [RFC4106]",
            f"0x{key.keymat.reveal().hex()}",
            "NULL",
            "",
        )
        lines.append(",".join(f'"{value}"' for value in fields))
    (profile / "esp_sa").write_text("\n".join(lines) + "\n")
    command = [
        *("tshark", "-r", str(capture), "-o", "esp.enable_encryption_decode:TRUE"),
        *("-Y", "icmp.type || icmpv6.type == 128 || icmpv6.type == 129"),
        *("-T", "fields", "-e", "icmp.type", "-e", "icmpv6.type"),
    ]
    done = subprocess.run(
        command,
        env=os.environ | {"WIRESHARK_CONFIG_DIR": str(profile)},
        capture_output=True,
        text=True,
        check=True,
    )
    kinds = sorted(line.strip() for line in done.stdout.splitlines())
    assert kinds == sorted(["8", "0", "128", "129"] * 3)


class Forger:
    """Sends what scapy makes, from Paris's end of the wire, with a sequence number of its own."""

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        self.sa = scapy_sa(pair, PARIS, pair.keys(pair.paris).outbound)
        sent = next(
            Ether(frame)
            for frame, _ in pair.frames
            if is_esp(frame) and Ether(frame).payload.src in OUTER[outer_of(pair)[0]][PARIS]
        )
        self._ether = Ether(src=sent.src, dst=sent.dst)
        with pair.paris.namespace.entered():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self._socket.bind((WIRE, 0))

    def seal(
        self, inner: Any, sequence: int, *, changed_octet: bool = False, spi_change: int = 0
    ) -> bytes:
        """A frame with the packet inside; it can be changed after it was sealed."""
        packet = self.sa.encrypt(inner, seq_num=sequence)
        packet[ESP].spi ^= spi_change
        if changed_octet:
            sealed = bytearray(packet[ESP].data)
            sealed[-20] ^= 1
            packet[ESP].data = bytes(sealed)
        if packet.haslayer(UDP) and packet.version == 6:
            # scapy leaves the checksum zero, which a receiver of IPv6 drops (RFC 8200, 8.1).
            del packet[UDP].chksum
        return bytes(self._ether / packet)

    def send(self, frame: bytes) -> None:
        """Onto the wire."""
        self._socket.send(frame)


def echo(version: int, identity: int) -> Any:
    """An echo request from Paris to Berlin."""
    source, destination = INNER[PARIS], INNER[BERLIN]
    if version == 4:
        request = ICMP(type=8, id=identity, seq=1) / b"from scapy"
        return IP(src=source[0], dst=destination[0]) / request
    request = ICMPv6EchoRequest(id=identity, seq=1, data=b"from scapy")
    return IPv6(src=source[1], dst=destination[1]) / request


def answered(pair: Pair, identity: int) -> int:
    """Echo replies with that identity on the wire."""
    count = 0
    for packet in inner_packets(pair, BERLIN):
        if packet.haslayer(ICMP):
            count += packet[ICMP].type == 0 and packet[ICMP].id == identity
        elif packet.haslayer(ICMPv6EchoReply):
            count += packet[ICMPv6EchoReply].id == identity
    return count


def test_what_scapy_makes_is_accepted_and_nothing_else(pair: Pair) -> None:
    assert ping(pair.paris.namespace, ip_address(INNER[BERLIN][0]))[0] == 3
    forger = Forger(pair)
    frames = {
        version: forger.seal(echo(version, 0x7000 + version), 100 + version) for version in (4, 6)
    }
    for version, frame in frames.items():
        forger.send(frame)
        until(lambda version=version: answered(pair, 0x7000 + version) == 1, "the answer")  # type: ignore[misc]

    def refused(frame: bytes, counter: str) -> None:
        before = pair.drops(pair.berlin).get(counter, 0)
        forger.send(frame)
        until(lambda: pair.drops(pair.berlin).get(counter, 0) == before + 1, counter)

    refused(frames[4], "XfrmInStateSeqError")
    refused(forger.seal(echo(4, 1), 200, changed_octet=True), "XfrmInStateProtoError")
    refused(forger.seal(echo(4, 1), 201, spi_change=0x10), "XfrmInNoStates")
    # The number of the changed packet was not used up.
    forger.send(forger.seal(echo(4, 0x7999), 200))
    until(lambda: answered(pair, 0x7999) == 1, "the answer")
    assert answered(pair, 0x7004) == 1
    report = pair.berlin.status()
    assert report is not None
    (inbound,) = (sa for sa in report.tunnels[0].sas if sa.direction == "in")
    assert (inbound.replay_drops, inbound.integrity_failures) == (1, 1)
