"""What the kernel plane decides without a kernel."""

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from plutino.dataplane.choice import PlaneChoice, choose, choose_by, settle_choice
from plutino.dataplane.journal import Journal
from plutino.dataplane.probe.attempts import with_bases
from plutino.dataplane.probe.report import KernelReport
from plutino.dataplane.runtime import RuntimePaths
from plutino.dataplane.scratch import ScratchError
from plutino.dataplane.xfrm_stat import parse_xfrm_stat
from plutino.model.algorithms import AeadKey
from plutino.model.errors import PlaneError
from plutino.model.feature import PLAIN_TUNNEL, Demands, Feature, PlaneBinding, Requirement
from plutino.model.interface import Interface
from plutino.model.numbers import IfId, Mark, ReqId, Spi
from plutino.model.sa import ReplayState, SaDirection, SecurityAssociation
from plutino.model.secret import Secret
from plutino.netlink.route.links import encode_new_interface, parse_link
from plutino.netlink.route_clients import RouteClients
from plutino.netlink.xfrm.constants import Xfrma
from plutino.netlink.xfrm.convert import parse_sa, sa_message
from tests.support.kernel_reports import NO_DEVICE, report

PLAIN = PLAIN_TUNNEL.requirements


def test_auto_takes_a_kernel_that_can_do_all_and_says_so() -> None:
    """What a plain tunnel does without is no reason for the engine."""
    optional = set(Feature) - with_bases(one.feature for one in PLAIN)
    for able in (report(), report(optional)):
        choice = choose_by("auto", PLAIN_TUNNEL, able)
        assert choice == PlaneChoice("kernel", "auto: Linux 6.12.0 can do all that is asked for")


@pytest.mark.parametrize("feature", [one.feature for one in PLAIN])
def test_auto_takes_the_engine_where_anything_needed_is_missing(feature: Feature) -> None:
    choice = choose_by("auto", PLAIN_TUNNEL, report([feature]))
    assert choice.plane == "userspace"
    needs = f"a plain tunnel needs {feature.value}, which this kernel lacks"
    assert choice.why.startswith(f"auto: {needs}: {NO_DEVICE}")


BEET = Demands((Requirement(Feature.ESP_BEET_V6, "tunnel 'berlin'", "tunnels.berlin.mode"),))
VTI = PlaneBinding("kernel", "interfaces.ipsec1.kind", "a VTI is a device of the kernel")
LOOP = PlaneBinding("userspace", "tunnels.berlin.mode", "a packet of transport mode loops")


def test_the_reason_names_the_tunnel_and_the_feature() -> None:
    choice = choose_by("auto", BEET, report([Feature.ESP_BEET_V6], words="Unsupported mode"))
    assert choice == PlaneChoice(
        "userspace",
        "auto: tunnel 'berlin' needs ESP in BEET mode over IPv6, which this kernel lacks: "
        "Unsupported mode",
    )


def test_a_kernel_that_was_asked_for_by_name_must_be_able() -> None:
    assert choose_by("kernel", BEET, report()) == PlaneChoice("kernel", "so configured")
    lacking = report([Feature.ESP_BEET_V6, Feature.VRF], words="Unsupported mode")
    with pytest.raises(PlaneError) as refused:
        choose_by("kernel", BEET, lacking)
    assert str(refused.value) == (
        "data-plane = \"kernel\" cannot be: tunnel 'berlin' needs ESP in BEET mode over IPv6, "
        "which this kernel lacks (`tunnels.berlin.mode`): Unsupported mode"
    )
    assert refused.value.hint is not None
    assert "CONFIG_INET6_ESP" in refused.value.hint
    assert "plutino doctor FILE" in refused.value.hint


def test_the_engine_is_taken_by_name_whatever_the_kernel_can_do() -> None:
    for able in (report(), report(list(Feature))):
        assert choose_by("userspace", BEET, able) == PlaneChoice("userspace", "so configured")


def test_options_of_one_plane_alone_decide() -> None:
    only_kernel = Demands(bindings=(VTI,))
    choice = choose_by("auto", only_kernel, report([Feature.XFRM_LINK]))
    assert choice.plane == "kernel"
    assert choice.why == (
        "auto: `interfaces.ipsec1.kind` needs the kernel: a VTI is a device of the kernel"
    )
    choice = choose_by("auto", Demands(bindings=(LOOP,)), report())
    assert choice.plane == "userspace"
    assert "`tunnels.berlin.mode` needs the engine" in choice.why


def test_an_option_of_the_kernel_on_a_kernel_that_lacks_it_is_served_by_none() -> None:
    requirement = Requirement(Feature.VTI_V4, "interface 'ipsec1'", VTI.key)
    with pytest.raises(PlaneError, match=r"`interfaces.ipsec1.kind` cannot be: interface 'ipsec1'"):
        choose_by("auto", Demands((requirement,), (VTI,)), report([Feature.VTI_V4]))


def test_what_cannot_be_tried_is_the_engine_or_untried(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(features: object) -> KernelReport:
        raise ScratchError("a network namespace cannot be made")

    monkeypatch.setattr("plutino.dataplane.choice.probe_kernel", forbidden)
    assert choose("auto", BEET).plane == "userspace"
    for configured, demands in (("kernel", BEET), ("auto", Demands(bindings=(VTI,)))):
        choice = choose(configured, demands)
        assert choice.plane == "kernel"
        assert "untried: a network namespace cannot be made" in choice.why


def test_no_more_is_tried_than_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that nobody asked for brings devices and code."""
    tried: list[Feature] = []

    def probe(features: Iterable[Feature]) -> KernelReport:
        tried.extend(features)
        return report()

    monkeypatch.setattr("plutino.dataplane.choice.probe_kernel", probe)
    assert choose("auto", BEET).plane == "kernel"
    assert tried == [Feature.ESP_BEET_V6]
    assert with_bases([Feature.NAT_KEEPALIVE]) == {
        Feature.NAT_KEEPALIVE,
        Feature.UDP_V4,
        Feature.ESP_TUNNEL_V4,
    }


def test_what_is_configured_is_not_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plutino.dataplane.choice.probe_kernel", lambda _: pytest.fail("probed"))
    assert choose("userspace", BEET) == PlaneChoice("userspace", "so configured")
    assert choose("auto", Demands(BEET.requirements, (LOOP,))).plane == "userspace"


@pytest.fixture
def runtime(tmp_path: Path) -> RuntimePaths:
    return RuntimePaths(tmp_path, tmp_path)


def test_a_choice_stays_until_down(runtime: RuntimePaths) -> None:
    assert PlaneChoice.read(runtime) is None
    noted = PlaneChoice("kernel", "so configured")
    noted.write(runtime)
    assert PlaneChoice.read(runtime) == noted
    with RouteClients() as routes:
        for configured in ("auto", "kernel"):
            assert settle_choice(configured, "default", runtime, routes, PLAIN_TUNNEL) == noted
        with pytest.raises(PlaneError, match="runs on the kernel plane") as refused:
            settle_choice("userspace", "default", runtime, routes, PLAIN_TUNNEL)
    assert refused.value.hint == "`plutino down`, then start it again"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"plane": "cloud", "why": ""}', "\0"])
def test_a_broken_note_is_none(runtime: RuntimePaths, text: str) -> None:
    runtime.plane_choice.write_text(text)
    assert PlaneChoice.read(runtime) is None


def test_what_is_noted_stays_until_it_is_struck_out(tmp_path: Path) -> None:
    path = tmp_path / "links"
    journal = Journal.read(path)
    for words in (["ipsec2 2", "ipsec1 1"], ["ipsec2 2"], []):
        journal.note(words)
    assert path.read_text() == "ipsec1 1\nipsec2 2\n"
    journal.forget(["ipsec1 1"])
    assert Journal.read(path).words == {"ipsec2 2"}


def test_a_journal_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(PlaneError, match="cannot be written"):
        Journal.read(tmp_path / "missing" / "reqids").note(["1"])


def test_xfrm_stat() -> None:
    text = "XfrmInError             \t0\nXfrmInNoPols            \t12\nodd line here\nX y\n"
    assert parse_xfrm_stat(text) == {"XfrmInError": 0, "XfrmInNoPols": 12}


def test_a_new_xfrm_link_reads_back() -> None:
    link = parse_link(encode_new_interface(Interface("ipsec7", IfId(7), 1400), 3))
    assert (link.name, link.kind, link.mtu) == ("ipsec7", "xfrm", 1400)
    assert (link.if_id, link.underlying, link.attached) == (7, 3, False)
    assert (
        parse_link(encode_new_interface(Interface("x", IfId(0xFFFFFFFF), 1400))).underlying is None
    )


OUTBOUND = SecurityAssociation(
    spi=Spi(0x1000),
    source=ip_address("192.0.2.1"),
    destination=ip_address("198.51.100.2"),
    reqid=ReqId(7),
    if_id=IfId(5),
    keys=AeadKey("rfc4106(gcm(aes))", Secret(bytes(range(36))), 128),
    direction=SaDirection.OUT,
    output_mark=Mark(5),
)


@pytest.mark.parametrize(
    "sa",
    [
        OUTBOUND,
        replace(OUTBOUND, output_mark=None),
        replace(OUTBOUND, replay=ReplayState(window=1)),
        replace(
            OUTBOUND,
            direction=SaDirection.IN,
            output_mark=None,
            replay=ReplayState(window=1),
        ),
    ],
)
def test_the_direction_is_known_without_its_attribute(sa: SecurityAssociation) -> None:
    """Kernels before 6.10 drop XFRMA_SA_DIR, and want a window for outbound ESN."""
    message = sa_message(sa)
    attributes = tuple(one for one in message.attributes if one.number != Xfrma.SA_DIR)
    assert len(attributes) == len(message.attributes) - 1
    parsed = parse_sa(replace(message, attributes=attributes))
    assert parsed is not None
    assert parsed[0] == sa
