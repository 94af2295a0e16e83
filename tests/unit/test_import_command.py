"""`plutino import vti` on a machine that is made up: files, keys, refusals, exit codes."""

import stat
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from plutino.cli import import_
from plutino.config.files import load_gateway
from plutino.config.static_keys import parse_keys
from plutino.migration.live import LiveSystem
from plutino.model.errors import PlaneError
from plutino.model.interface import VtiEnds
from plutino.model.link import Link
from plutino.model.policy import IpAddress
from tests.support.live_vtis import LINK, LOCAL, REMOTE, ROME, route, system


def run(monkeypatch: pytest.MonkeyPatch, live: LiveSystem, folder: Path, *arguments: str) -> Result:
    monkeypatch.setattr(import_, "read_system", lambda: live)
    command = ["vti", "--output-dir", str(folder), *arguments]
    return CliRunner().invoke(import_.import_, command, catch_exceptions=False)


def seen_from(local: IpAddress, remote: IpAddress) -> LiveSystem:
    """The other end of the usual VTI."""
    live = system()
    other = {LOCAL: local, REMOTE: remote}
    return replace(
        live,
        links=(replace(LINK, vti=VtiEnds(local, remote, 5, 5)),),
        sas=tuple(
            replace(one, source=other[one.destination], destination=other[one.source])
            for one in live.sas
        ),
        policies=(),
    )


def test_both_ends_get_keys_that_fit_and_only_their_owner_reads_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    paris, berlin = tmp_path / "paris", tmp_path / "berlin"
    paris.mkdir()
    berlin.mkdir()
    first = run(monkeypatch, system(), paris)
    assert first.exit_code == 0, first.output
    half = paris / "vti1-peer.keys"
    assert f"plutino import vti --keys {half}" in first.output
    second = run(monkeypatch, seen_from(REMOTE, LOCAL), berlin, "--keys", str(half))
    assert second.exit_code == 3  # it has no policies
    assert not (berlin / "vti1-peer.keys").exists()
    for file in (*paris.iterdir(), *berlin.iterdir()):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    ours = load_gateway(paris / "gateway.toml").keys["vti1"]
    theirs = load_gateway(berlin / "gateway.toml").keys["vti1"]
    assert (ours.outbound, ours.inbound) == (theirs.inbound, theirs.outbound)
    assert ours.outbound.keymat != ours.inbound.keymat
    assert ours.suite.name == "aes128gcm16"


def test_no_file_is_overwritten(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "vti1-peer.keys").write_text("precious")
    with pytest.raises(PlaneError, match=r"vti1-peer\.keys is there already"):
        run(monkeypatch, system(), tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["vti1-peer.keys"]
    assert (tmp_path / "vti1-peer.keys").read_text() == "precious"


def test_the_half_of_the_other_end_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert run(monkeypatch, system(), tmp_path).exit_code == 0
    half = tmp_path / "vti1-peer.keys"
    folder = tmp_path / "again"
    folder.mkdir()
    with pytest.raises(PlaneError, match=r"is the half for use at 192\.0\.2\.2, not here"):
        run(monkeypatch, system(), folder, "--keys", str(half))
    parse_keys(half.read_text(), "it is whole")


def test_what_was_left_out_is_a_warning_and_exit_code_3(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    done = run(monkeypatch, system(routes=(route("0.0.0.0/0"),)), tmp_path)
    assert done.exit_code == 3
    assert "plutino: warning: vti1: route 0.0.0.0/0 holds the peer's outer address" in done.stderr
    assert "LEFT OUT: route 0.0.0.0/0" in (tmp_path / "gateway.toml").read_text()


@pytest.mark.parametrize(
    ("links", "arguments", "words"),
    [
        ((), (), "there is no VTI in this network namespace"),
        ((Link(3, "ip_vti0", "vti", 1480, up=False),), (), "there is no VTI in this"),
        ((LINK,), ("--interface", "vti9"), "there is no VTI vti9 with a local address"),
        (
            (LINK, Link(3, "eth0", "veth", 1500, up=True)),
            ("--interface", "eth0"),
            "eth0 is no VTI",
        ),
        (
            (replace(LINK, alias="plutino:default"),),
            ("--interface", "vti1"),
            "vti1 is a VTI of plutino itself",
        ),
        ((replace(LINK, vti=VtiEnds(LOCAL, None, 9, 9)),), (), "none of the VTIs has a peer"),
    ],
)
def test_where_there_is_nothing_to_import(
    links: tuple[Link, ...],
    arguments: tuple[str, ...],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    with pytest.raises(PlaneError, match=words):
        run(monkeypatch, system(links=links), tmp_path, *arguments)
    assert not list(tmp_path.iterdir())


def test_with_several_peers_each_half_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    second = replace(LINK, index=8, name="vti2", vti=VtiEnds(LOCAL, ROME, 6, 6))
    live = system(links=(LINK, second))
    refused = run(monkeypatch, live, tmp_path, "--keys", "some.keys")
    assert refused.exit_code == 2
    assert "there are 2 peers (192.0.2.2, 192.0.2.3)" in refused.output
    unknown = run(monkeypatch, live, tmp_path, "--keys", "192.0.2.7=some.keys")
    assert unknown.exit_code == 2
    assert "has the peer 192.0.2.7" in unknown.output
    done = run(monkeypatch, live, tmp_path)
    assert "[tunnels.vti2]" in (tmp_path / "gateway.toml").read_text()
    assert done.exit_code == 3  # vti2 has neither SAs nor policies


def test_a_vti_without_a_local_address_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    live = system(links=(LINK, Link(8, "vti8", "vti", 1480, up=True)))
    done = run(monkeypatch, live, tmp_path)
    assert done.exit_code == 3
    assert "warning: vti8: it has no local address, and is not imported" in done.stderr


def test_two_names_that_become_one_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ends = VtiEnds(LOCAL, ROME, 6, 6)
    links = (replace(LINK, name="vti.1"), replace(LINK, index=8, name="vti-1", vti=ends))
    with pytest.raises(PlaneError, match="would have one name: vti-1, vti-1"):
        run(monkeypatch, system(links=links), tmp_path)
