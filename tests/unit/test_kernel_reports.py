"""What is made of a kernel's refusals: cures, former kernels, and `plutino doctor`'s table."""

from pathlib import Path

import pytest

from plutino.cli.doctor import render
from plutino.config.load import load_text
from plutino.dataplane.choice import PlaneChoice, choose_by
from plutino.dataplane.probe.machine import Machine, cure, parse_os_release
from plutino.dataplane.probe.needs import NEEDS, Need
from plutino.dataplane.probe.report import KernelReport
from plutino.desired.demands import demands_of
from plutino.model.algorithms import ESP_SUITES
from plutino.model.errors import PlaneError
from plutino.model.feature import ALGORITHMS, PLAIN_TUNNEL, Feature
from tests.support.gateways import compiled, gateway_text
from tests.support.kernel_reports import of_version, report

XFRM = NEEDS[Feature.XFRM_LINK]
BEET_LINE = "NO ESP in BEET mode over IPv4"
VTI_INTERFACE = '[interfaces.ipsec1]\nkind = "vti"'


def choice_for(text: str, kernel: KernelReport, configured: str = "auto") -> PlaneChoice:
    gateway = load_text(text, "gateway.toml")
    return choose_by(configured, demands_of(gateway, compiled(text)), kernel)


def test_every_feature_has_its_needs_and_every_algorithm_its_line() -> None:
    assert set(NEEDS) == set(Feature)
    parts = {
        part.kernel_name
        for suite in ESP_SUITES.values()
        for part in (suite.encryption, suite.integrity)
        if part is not None
    }
    assert {one.value for one in ALGORITHMS} == parts


def test_the_documented_table_is_what_is_used() -> None:
    page = Path(__file__).parents[2] / "docs" / "kernel-features.md"
    rows = [line for line in page.read_text().splitlines() if line.count(" | ") == 4]
    told = [
        f"| {feature} | {need.option} | {need.module} | {need.since} | {need.base or ''} |"
        for feature, need in NEEDS.items()
    ]
    assert rows[1:] == told


def test_a_base_stands_before_what_is_built_on_it() -> None:
    order = list(Feature)
    for feature, need in NEEDS.items():
        assert need.base is None or order.index(need.base) < order.index(feature)


@pytest.mark.parametrize(
    ("machine", "words"),
    [
        (Machine("4.15.0-20-generic", ("ubuntu",), frozenset()), "Linux 4.19 or newer with"),
        (Machine("5.4.0-20-generic", ("ubuntu", "debian"), frozenset()),
         "linux-modules-extra-5.4.0-20-generic"),
        (Machine("6.1.0-28-cloud-amd64", ("debian",), frozenset()), "linux-image-amd64"),
        (Machine("5.14.0-427.el9.x86_64", ("rocky", "rhel", "centos", "fedora"), frozenset()),
         "kernel-modules-extra-5.14.0-427.el9.x86_64"),
        (Machine("6.1.141-155.222.amzn2023.x86_64", ("amzn", "fedora"), frozenset()),
         "dnf upgrade kernel"),
        (Machine("6.6.0", ("gentoo",), frozenset()), "a kernel with CONFIG_XFRM_INTERFACE"),
        (Machine("6.6.0", ("debian",), None), "a kernel with CONFIG_XFRM_INTERFACE"),
        (Machine("6.6.0", ("debian",), frozenset({"xfrm_interface"})), "/etc/modprobe.d"),
        (Machine("custom", (), None), "Linux 4.19 or newer"),
    ],
)  # fmt: skip
def test_the_cure_fits_the_machine(machine: Machine, words: str) -> None:
    assert words in cure(XFRM, machine)


def test_a_kernel_without_modules_is_told_no_package() -> None:
    """In containers and microVMs the kernel is not the distribution's."""
    assert "apt" not in cure(XFRM, Machine("6.6.0", ("ubuntu",), None))
    assert cure(Need("CONFIG_X"), Machine("6.6.0", ("ubuntu",), frozenset())) == (
        "a kernel with CONFIG_X"
    )


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (['ID="rocky"', 'ID_LIKE="rhel centos fedora"'], ("rocky", "rhel", "centos", "fedora")),
        (["ID=debian", "# x", "", "NAME=\"it's"], ("debian",)),
        ([], ()),
    ],
)
def test_the_distribution_is_read(lines: list[str], found: tuple[str, ...]) -> None:
    assert parse_os_release(lines) == found


def test_what_is_built_on_a_missing_feature_names_the_root() -> None:
    without_esp = report([Feature.ESP_TUNNEL_V4], "6.12.0", words="Requested type not found")
    mark = without_esp.find(Feature.OUTPUT_MARK_MASK)
    assert not mark.supported
    assert mark.words == "not tried without output mark"
    assert "module esp4" in mark.cure
    assert without_esp.find(Feature.ESP_TUNNEL_V6).supported


# --- kernels of former years


def test_linux_4_18_has_no_xfrm_interface_so_the_engine_serves() -> None:
    choice = choice_for(gateway_text(), of_version(4, 18))
    assert choice.plane == "userspace"
    assert "interface 'ipsec1' needs XFRM interface, which this kernel lacks" in choice.why


def test_linux_4_18_serves_a_vti() -> None:
    text = gateway_text(top="mark-mask = 0xffffffff", tables=VTI_INTERFACE)
    assert choice_for(text, of_version(4, 18)).plane == "kernel"


def test_the_kernel_by_name_on_linux_4_18_is_told_the_version() -> None:
    text = gateway_text(top='data-plane = "kernel"')
    with pytest.raises(PlaneError) as refused:
        choice_for(text, of_version(4, 18), "kernel")
    assert "(`tunnels.berlin.interface`)" in str(refused.value)
    assert "Linux 4.19 or newer with CONFIG_XFRM_INTERFACE" in (refused.value.hint or "")
    assert '`kind = "vti"`' in (refused.value.hint or "")


def test_linux_4_18_has_output_marks_under_the_full_mask_alone() -> None:
    """It takes the mask's attribute without a word, so that 32 bits are always set."""
    full = gateway_text('set-mark-out = "0x10"', tables=VTI_INTERFACE)
    assert choice_for(full, of_version(4, 18)).plane == "kernel"
    masked = gateway_text('set-mark-out = "0x10/0xff"', tables=VTI_INTERFACE)
    with pytest.raises(PlaneError, match="output mark under a mask, which this kernel lacks"):
        choice_for(masked, of_version(4, 18))
    with pytest.raises(PlaneError) as refused:
        choice_for(gateway_text(tables=VTI_INTERFACE), of_version(4, 18))
    assert "(`mark-mask`)" in str(refused.value)
    assert "or a mask of all bits (`mark-mask = 0xffffffff`)" in (refused.value.hint or "")


def test_linux_4_13_has_no_output_mark_at_all() -> None:
    marked = gateway_text('set-mark-out = "0x10"', tables=VTI_INTERFACE)
    with pytest.raises(PlaneError, match=r"needs output mark, .*tunnels.berlin.set-mark-out"):
        choice_for(marked, of_version(4, 13))


def test_linux_6_1_serves_all_but_what_came_later() -> None:
    assert choice_for(gateway_text(), of_version(6, 1)).plane == "kernel"
    text = gateway_text('encapsulation = "udp"\nnat-keepalive = 20')
    choice = choice_for(text, of_version(6, 1))
    assert choice.plane == "userspace"
    assert "tunnel 'berlin' needs NAT keepalives" in choice.why
    assert choice_for(text, of_version(6, 12)).plane == "kernel"


def test_linux_5_7_has_no_esp_in_udp_over_ipv6() -> None:
    for local, plane in (("192.0.2.1", "kernel"), ("2001:db8::1", "userspace")):
        text = gateway_text('encapsulation = "udp"', local=local)
        assert choice_for(text, of_version(5, 7)).plane == plane


def test_linux_5_14_has_no_policy_defaults() -> None:
    choice = choice_for(gateway_text(top='policy-default.forward = "block"'), of_version(5, 14))
    assert choice.plane == "userspace"
    assert "the gateway needs policy defaults" in choice.why


def test_linux_5_15_has_no_external_interface() -> None:
    text = gateway_text(tables="[interfaces.ipsec1]\nexternal = true")
    choice = choice_for(text, of_version(5, 15))
    assert choice.plane == "userspace"
    assert "interface 'ipsec1' needs external XFRM interface" in choice.why


# --- `plutino doctor`


def test_doctor_names_the_option_that_is_missing_and_ends_with_the_choice() -> None:
    lacking = report([Feature.XFRM_LINK, Feature.SA_DIRECTION])
    lines = render(lacking, PLAIN_TUNNEL, choose_by("auto", PLAIN_TUNNEL, lacking))
    text = "\n".join(lines)
    assert "NO   XFRM interface" in text
    assert "CONFIG_XFRM_INTERFACE" in text
    assert "no   direction of SAs" in text
    assert lines[-1].startswith("data plane: userspace, auto: ")
    assert len(lines) == len(Feature) + 2


def test_doctor_says_what_a_file_asks_for() -> None:
    text = gateway_text('mode = "beet"\nlocal-ts = ["10.0.0.1/32"]\nremote-ts = ["10.0.0.2/32"]')
    demands = demands_of(load_text(text, "x"), compiled(text))
    lacking = report([Feature.ESP_BEET_V4])
    choice = choose_by("auto", demands, lacking)
    lines = render(lacking, demands, choice, Path("paris.toml"))
    below = lines[lines.index("paris.toml asks for") :]
    assert any(line.split() == [*BEET_LINE.split(), "tunnels.berlin.mode"] for line in below)
    assert "tunnel 'berlin' needs ESP in BEET mode over IPv4" in lines[-1]
