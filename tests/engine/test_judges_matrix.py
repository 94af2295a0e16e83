"""Every algorithm, mode, family and encapsulation by judges that are not ours.

What an engine sends, scapy and tshark decrypt; what scapy makes, an engine delivers and answers.
BEET is scapy's transport mode around the inner payload (draft-nikander-esp-beet-mode, 5): the
addresses outside are the tunnel's, those inside are known to the SA alone.
"""

import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers.inet import IP

from plutino.lab.hosts import WIRE
from plutino.lab.pcapng import PcapngWriter
from plutino.model.policy import Mode
from plutino.model.sa import Encapsulation
from tests.support.engine_lab import ONE, OUTER, TWO, EngineCase, EngineLab, Flow, engine_lab
from tests.support.esp_algorithms import ALGORITHMS
from tests.support.esp_judge import Judge, echo_reply, framed, transport_of

pytestmark = pytest.mark.root


def cases() -> Iterator[EngineCase]:
    """The full product. ESN goes over IPv6: tshark knows no ICV with it, and has IPv4 to judge."""
    for algorithm in ALGORITHMS:
        for outer in (4, 6):
            for encapsulation in Encapsulation:
                for mode, inner in (
                    (Mode.TUNNEL, (4, 6)),
                    (Mode.TRANSPORT, (outer,)),
                    (Mode.BEET, (4,)),
                    (Mode.BEET, (6,)),
                ):
                    yield EngineCase(algorithm, mode, outer, encapsulation, inner, outer == 6)


class Evidence:
    """Frames and keys of all cases, for one run of tshark at the end."""

    def __init__(self) -> None:
        self.frames: list[tuple[bytes, int]] = []
        self.flows: dict[int, Flow] = {}


@pytest.fixture(scope="module")
def lab() -> Iterator[EngineLab]:
    with engine_lab() as one:
        yield one


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    return Evidence()


def expected(case: EngineCase, version: int, inner: bytes) -> tuple[int, bytes]:
    """What a judge finds in ESP."""
    return (version, inner) if case.mode is Mode.TUNNEL else transport_of(inner)


def without_id(packet: bytes) -> bytes:
    """With DF the identification of IPv4 means nothing (RFC 6864); a raw socket makes one up."""
    if packet[0] >> 4 != 4:
        return packet
    read = IP(packet)
    assert read.flags.DF
    read.id = 0
    del read.chksum
    return bytes(read)


@pytest.mark.parametrize("case", tuple(cases()), ids=str)
def test_the_judge_reads_and_is_read(lab: EngineLab, evidence: Evidence, case: EngineCase) -> None:
    there, back = lab.install(case)
    judges = {ONE: Judge(there), TWO: Judge(back)}
    drops = lab.one.drops(), lab.two.drops()
    for number, version in enumerate(case.inner):
        request = echo_reply(case, version, ONE, TWO, b"sealed by the engine")
        lab.one.inject(request)
        assert without_id(lab.two.await_delivery()) == request
        frame = lab.frame_of(there.spi)
        assert judges[ONE].open(frame) == expected(case, version, request)
        keep(evidence, there, frame)
        lab.frames.clear()

        forged = echo_reply(case, version, ONE, TWO, b"sealed by the judge")
        packet = judges[ONE].seal(forged, sequence=10 + number)
        lab.one.transmit(framed(packet, lab.one, lab.two))
        assert without_id(lab.two.await_delivery()) == forged
        lab.frames.clear()

        answer = echo_reply(case, version, TWO, ONE, b"the answer")
        lab.two.inject(answer)
        assert without_id(lab.one.await_delivery()) == answer
        frame = lab.frame_of(back.spi)
        assert judges[TWO].open(frame) == expected(case, version, answer)
        keep(evidence, back, frame)
        lab.frames.clear()
    assert (lab.one.drops(), lab.two.drops()) == drops


def keep(evidence: Evidence, flow: Flow, frame: bytes) -> None:
    if flow.case.algorithm.tshark is not None:
        evidence.frames.append((frame, len(evidence.frames)))
        evidence.flows[flow.spi] = flow


def test_tshark_reads_all_of_it(evidence: Evidence, tmp_path: Path) -> None:
    if not evidence.frames:
        pytest.skip("the cases before were left out")
    capture = tmp_path / "wire.pcapng"
    with capture.open("wb") as file:
        writer = PcapngWriter(file, WIRE)
        for frame, at in evidence.frames:
            writer.write(frame, at)
    profile = tmp_path / "wireshark"
    profile.mkdir(mode=0o700)
    lines = [sa_line(flow) for flow in evidence.flows.values()]
    (profile / "esp_sa").write_text("\n".join(lines) + "\n")
    command = [
        *("tshark", "-r", str(capture), "-o", "esp.enable_encryption_decode:TRUE"),
        *("-o", "esp.enable_authentication_check:TRUE", "-T", "fields", "-E", "occurrence=l"),
        *("-e", "esp.spi", "-e", "icmp.type", "-e", "icmpv6.type", "-e", "esp.icv_good"),
    ]
    environment = os.environ | {"WIRESHARK_CONFIG_DIR": str(profile)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    read: Counter[int] = Counter()
    for line in done.stdout.splitlines():
        spi, icmp, icmpv6, icv_good = line.split("\t")
        flow = evidence.flows[int(spi, 16)]
        # BEET across families leaves ICMP of the one family in IP of the other.
        assert "0" in icmp or "129" in icmpv6 or crosses(flow), f"{flow.case}: {line}"
        read[flow.spi] += 1
        if not flow.case.esn:
            assert icv_good in ("1", "True"), f"{flow.case}: {line}"
    assert read == {spi: len(flow.case.inner) for spi, flow in evidence.flows.items()}


def crosses(flow: Flow) -> bool:
    return flow.case.mode is Mode.BEET and flow.case.inner != (flow.case.outer,)


def sa_line(flow: Flow) -> str:
    algorithm = flow.case.algorithm
    assert algorithm.tshark is not None
    crypt, auth = algorithm.tshark
    outer = OUTER[flow.case.outer]
    fields = (
        f"IPv{flow.case.outer}",
        outer[flow.sender],
        outer[flow.receiver],
        f"0x{flow.spi:08x}",
        crypt,
        f"0x{flow.keys.crypt.hex()}" if flow.keys.crypt else "",
        auth,
        f"0x{flow.keys.auth.hex()}" if flow.keys.auth else "",
    )
    return ",".join(f'"{value}"' for value in fields)
