"""`plutino run --ike-keys`: tshark reads what the two ends said to each other."""

import json
import stat
import subprocess
from pathlib import Path

import pytest

from plutino.lab.hosts import WIRE
from plutino.lab.pcapng import PcapngWriter
from tests.support.ike_lab import ike_pair, until_it_passes

pytestmark = pytest.mark.root


def notifies_and_payloads(capture: Path, table: Path) -> set[str]:
    """Names of all payloads of IKE that tshark sees."""
    command: list[str | Path] = [
        "tshark",
        "-r",
        capture,
        "-Y",
        "isakmp",
        "-T",
        "json",
        "-e",
        "isakmp.typepayload",
    ]
    for line in table.read_text().splitlines():
        command += ["-o", f"uat:ikev2_decryption_table:{line}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    packets = [one["_source"]["layers"] for one in json.loads(done.stdout)]
    return {number for layers in packets for number in layers.get("isakmp.typepayload", ())}


@pytest.mark.parametrize("suite", ["aes256gcm16-prfsha384-x25519", "aes128-sha256-modp2048"])
def test_tshark_decrypts_with_exported_keys(plane: str, tmp_path: Path, suite: str) -> None:
    own = f'proposals = ["{suite}"]'
    with ike_pair(plane, paris=own, berlin=own, start=False) as pair:
        table = pair.paris.folder / "ike.keys"
        pair.paris.run_options = ("--ike-keys", str(table))
        for host in (pair.paris, pair.berlin):
            host.start_daemon()
        until_it_passes(pair)
        capture = tmp_path / "wire.pcapng"
        with capture.open("wb") as file:
            writer = PcapngWriter(file, WIRE)
            for frame, at in pair.frames:
                writer.write(frame, at)
        assert stat.S_IMODE(table.stat().st_mode) == 0o600
        assert "whoever reads it can read what they protect" in pair.paris.log.read_text()
        empty = tmp_path / "no.keys"
        empty.touch()
        # IDi, IDr, AUTH and traffic selectors are in SK alone.
        inside = {"35", "36", "39", "44", "45"}
        assert not inside & notifies_and_payloads(capture, empty)
        assert inside <= notifies_and_payloads(capture, table)


def test_a_file_that_others_can_read_is_refused(plane: str, tmp_path: Path) -> None:
    table = tmp_path / "ike.keys"
    table.touch(mode=0o644)
    table.chmod(0o644)
    with ike_pair(plane, start=False) as pair:
        done = pair.paris.plutino("run", pair.paris.file, "--ike-keys", table)
    assert done.returncode == 1
    assert f"others can read {table}" in done.stderr
    assert not table.read_text()
