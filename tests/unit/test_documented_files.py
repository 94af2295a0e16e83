"""Files and commands of docs/, pasted as they are; those of whole tunnels: tests/interop."""

import re
import subprocess
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

from plutino.config.files import load_gateway
from plutino.control.report import (
    DropReport,
    GroupMemberReport,
    GroupReport,
    IkeReport,
    SaReport,
    StatusReport,
    TunnelReport,
)
from plutino.daemon.certificate_findings import unbelievable_certificates
from plutino.model.drop_reason import XFRM_STAT
from tests.support.documented import DOCS, block

TUNNEL = '[tunnels.berlin]\ninterface = "ipsec1"\nlocal = "192.0.2.1"\nremote = "198.51.100.2"\n'


def test_the_first_tunnel_is_a_gateway(tmp_path: Path) -> None:
    (tmp_path / "berlin.psk").touch(mode=0o600)
    (tmp_path / "berlin.psk").write_text("what openssl rand -base64 32 prints\n")
    file = tmp_path / "paris.toml"
    file.write_text(block("first-tunnel.md", "# /etc/plutino/paris.toml", "toml"))
    loaded = load_gateway(file)
    assert [str(one) for one in loaded.gateway.tunnels["berlin"].routes] == ["10.2.0.0/16"]


def test_certificates_from_nothing_are_believed(tmp_path: Path) -> None:
    commands = block("authentication.md", "openssl req -x509", "sh")
    subprocess.run(["sh", "-e"], input=commands, text=True, cwd=tmp_path, check=True, timeout=60,
                   capture_output=True)  # fmt: skip
    file = tmp_path / "paris.toml"
    file.write_text(TUNNEL + block("authentication.md", "[tunnels.berlin.ike]", "toml"))
    assert unbelievable_certificates(load_gateway(file), datetime.now(UTC)) == ()


def test_the_fields_of_status_are_those_that_are_documented() -> None:
    page = (DOCS / "operation.md").read_text()
    table = page.partition("| field | what it is |")[2].partition("\n\n")[0]
    words = {
        word
        for code in re.findall(r"`([^`]+)`", table)
        for word in re.findall(r"[a-z_]+", code.removeprefix("/proc"))
    }
    forms = (StatusReport, TunnelReport, IkeReport, SaReport, DropReport, GroupReport,
             GroupMemberReport)  # fmt: skip
    known = {one.name for form in forms for one in fields(form)}
    values = {"up", "degraded", "down"}
    assert words - values - {"uard", "rop"} <= known
    untold = {"instance", "version", "algorithm", "replay_window", "selectors", "initiator"}
    assert known - words == untold


def test_the_unit_leaves_a_daemon_alone_that_was_told_to_end() -> None:
    """As `plutino down` does, by itself the way in which peers are told (docs/operation.md)."""
    unit = (DOCS.parent / "packaging" / "systemd" / "plutino@.service").read_text()
    assert re.findall(r"^Restart=(.*)", unit, re.MULTILINE) == ["on-failure"]
    assert "stop it all | `plutino down`" in (DOCS / "operation.md").read_text()


def test_each_drop_that_is_explained_is_one() -> None:
    text = (DOCS / "troubleshooting.md").read_text()
    named = set(re.findall(r"`(Xfrm\w+)`", text))
    assert named
    assert named <= set(XFRM_STAT)
