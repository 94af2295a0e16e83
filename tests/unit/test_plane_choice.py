"""What the kernel plane decides without a kernel."""

from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from plutino.cli.doctor import render
from plutino.dataplane.choice import PlaneChoice, choose, choose_by, settle_choice
from plutino.dataplane.journal import Journal
from plutino.dataplane.kernel import parse_xfrm_stat
from plutino.dataplane.probe import OPTIONAL, Feature, Finding, KernelReport
from plutino.dataplane.runtime import RuntimePaths
from plutino.model.algorithms import AeadKey
from plutino.model.errors import PlaneError
from plutino.model.interface import Interface
from plutino.model.numbers import IfId, Mark, ReqId, Spi
from plutino.model.sa import ReplayState, SaDirection, SecurityAssociation
from plutino.model.secret import Secret
from plutino.netlink.route.links import encode_new_interface, parse_link
from plutino.netlink.route_clients import RouteClients
from plutino.netlink.xfrm.constants import Xfrma
from plutino.netlink.xfrm.convert import parse_sa, sa_message


def report(*missing: Feature) -> KernelReport:
    findings = [
        Finding(
            feature,
            feature not in missing,
            feature not in OPTIONAL,
            "Unknown device type (ENOTSUP)" if feature in missing else "",
            f"CONFIG_{feature.name}",
        )
        for feature in Feature
    ]
    return KernelReport("6.1.0", tuple(findings))


def test_auto_takes_a_kernel_that_can_do_all_and_says_so() -> None:
    for able in (report(), report(*OPTIONAL)):
        choice = choose_by(able)
        assert choice == PlaneChoice("kernel", "auto: Linux 6.1.0 can do all that is needed")


@pytest.mark.parametrize("feature", sorted(set(Feature) - OPTIONAL))
def test_auto_takes_the_engine_where_anything_needed_is_missing(feature: Feature) -> None:
    choice = choose_by(report(feature))
    assert choice.plane == "userspace"
    assert f"{feature.value}: Unknown device type (ENOTSUP)" in choice.why


def test_doctor_names_the_option_that_is_missing() -> None:
    lacking = report(Feature.LINK, Feature.SA_DIRECTION)
    text = "\n".join(render(lacking, choose_by(lacking)))
    assert "NO   XFRM interface" in text
    assert "needs CONFIG_LINK" in text
    assert "no   direction of SAs" in text
    assert text.splitlines()[-1].startswith("data plane: userspace, auto: ")


def test_what_is_configured_is_not_probed() -> None:
    assert choose("userspace") == PlaneChoice("userspace", "so configured")


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
            assert settle_choice(configured, "default", runtime, routes) == noted
        with pytest.raises(PlaneError, match="runs on the kernel plane") as refused:
            settle_choice("userspace", "default", runtime, routes)
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
