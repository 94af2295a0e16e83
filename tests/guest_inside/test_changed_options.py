"""One tunnel whose options change while it is up, between the kernel and the engine.

After each change both ends have what the file says, a second `apply` does nothing, and packets
pass in both directions.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from plutino.lab.demo import BERLIN, PARIS
from plutino.lab.traffic import MARKER
from plutino.lab.wire import FrameKind, classify
from plutino.model.algorithms import ESP_SUITES
from plutino.model.policy import Mode
from plutino.model.sa import Encapsulation
from tests.support.exhaustive import EXHAUSTIVE
from tests.support.interchange import Case, Interchange, interchange, write_files
from tests.support.iproute2 import ip
from tests.support.until import until

pytestmark = pytest.mark.guest

START = Case(1, ESP_SUITES["aes256gcm16"], Mode.TUNNEL, (4, 6), 4, Encapsulation.ESP)
CHANGES: dict[str, dict[str, Any]] = {
    "in UDP": {"encapsulation": Encapsulation.UDP},
    "with keepalives": {"encapsulation": Encapsulation.UDP, "options": "nat-keepalive = 1"},
    "over IPv6": {"outer": 6},
    "BEET": {"mode": Mode.BEET, "inner": (4,)},
    "BEET of IPv6": {"mode": Mode.BEET, "inner": (6,)},
    "BEET of IPv6 in UDP": {
        "mode": Mode.BEET,
        "inner": (6,),
        "encapsulation": Encapsulation.UDP,
    },
    "tunnel again": {},
    "other suite": {"suite": ESP_SUITES["aes128ctr-aescmac"]},
    "mark of outer packets": {"options": 'set-mark-out = "0x1234"'},
    "mark of outer packets under a mask": {"options": 'set-mark-out = "0x30/0xf0"'},
    "small window": {"options": "replay-window = 32"},
    "large window": {"options": "replay-window = 4096"},
    "small MTU": {"options": "mtu = 1300"},
    "other if_id": {"options": "if-id = 77"},
    "selectors": {
        "options": 'local-ts = ["10.64.0.0/16", "fd00::/16"]\n'
        'remote-ts = ["10.64.0.0/16", "fd00::/16"]'
    },
    "other interface": {"number": 2},
    "as at first": {},
}


@pytest.fixture(scope="module")
def pair() -> Iterator[Interchange]:
    with interchange([START]) as both:
        yield both


def change(pair: Interchange, case: Case, head: str = "") -> None:
    """Both ends as the case says; they agree that nothing more is to be done."""
    hosts = (pair.kernel, pair.engine)
    pair.cases |= write_files([case], hosts, head=head)
    for host in hosts:
        done = host.plutino("apply", host.file)
        assert done.returncode == 0, f"{host.name}: {done.stderr}"
    for host in hosts:
        done = host.plutino("apply", host.file)
        assert (done.stdout, done.stderr) == ("nothing to do\n", ""), host.name


def assert_it_passes(pair: Interchange, case: Case) -> None:
    for version in case.inner:
        for here, there in ((PARIS, BERLIN), (BERLIN, PARIS)):
            lost = pair.probes[here].unanswered(case.address(there, version), (80, 999), MARKER)
            assert lost == [], f"IPv{version} from {here}"


@pytest.mark.parametrize("name", CHANGES if EXHAUSTIVE else list(CHANGES)[::2])
def test_a_change_while_it_is_up(pair: Interchange, name: str) -> None:
    case = replace(START, **CHANGES[name])
    change(pair, case)
    pair.forget()  # what was said while the ends were different
    assert_it_passes(pair, case)
    assert pair.esp_of(case)


def test_both_send_keepalives(pair: Interchange) -> None:
    case = replace(START, **CHANGES["with keepalives"])
    change(pair, case)
    pair.forget()

    def senders() -> set[bytes]:
        kept = [one for one in pair.seen if classify(one) is FrameKind.KEEPALIVE]
        return {one[26:30] for one in kept}

    until(lambda: len(senders()) == 2, "keepalives of both ends")


def test_esp_in_udp_passes_a_default_that_blocks(pair: Interchange) -> None:
    """The kernel asks its policies about ESP in UDP before it opens it."""
    case = replace(START, encapsulation=Encapsulation.UDP)
    blocked = 'policy-default = { input = "block", forward = "block", output = "accept" }\n'
    change(pair, case, blocked)
    with pair.kernel.namespace.entered():
        assert "in: block" in " ".join(ip("xfrm policy getdefault").split())
    assert_it_passes(pair, case)
    change(pair, case)
    with pair.kernel.namespace.entered():
        assert "block" not in ip("xfrm policy getdefault")
