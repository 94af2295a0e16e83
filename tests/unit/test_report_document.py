"""What `status` tells goes through JSON and comes out as it was."""

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from plutino.control.report import (
    DropReport,
    EngineReport,
    GroupMemberReport,
    GroupReport,
    Health,
    IkeReport,
    SaReport,
    State,
    StatusReport,
    TunnelReport,
    encode_report,
    parse_report,
)

SA = SaReport("out", "0x00000100", "aes128gcm16", 1500, 1, 2, 1000, 1001, 128, 0, 0)
TUNNEL = TunnelReport(
    name="berlin",
    state=State.DEGRADED,
    interface="ipsec1",
    if_id=1,
    mtu=1446,
    local="192.0.2.1",
    remote="198.51.100.2",
    encapsulation="udp",
    missing=("create route 10.2.0.0/16",),
    sas=(SA, replace(SA, direction="in")),
    link={"tx_dropped": 3},
    uplink="ISP1",
    standby=1,
    ike=IkeReport("up", initiator=True, age=12, weak=("sha1",)),
    selectors=("10.1.0.0/16 - 10.2.0.0/16",),
)
REPORT = StatusReport(
    instance="default",
    state=State.DEGRADED,
    plane="userspace",
    engine=EngineReport(17, "0.1.0", "aws-lc"),
    daemon_pid=16,
    problems=("a problem",),
    tunnels=(TUNNEL, replace(TUNNEL, name="rome", ike=None, uplink=None)),
    drops=(DropReport("XfrmInNoStates", 2, "no SA"),),
    groups=(GroupReport("site", "failover", (GroupMemberReport("berlin", True, Health.LOST),)),),
)


def document() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(encode_report(REPORT)))
    return found


def test_it_comes_out_as_it_was() -> None:
    assert parse_report(document()) == REPORT
    nothing = replace(REPORT, engine=None, daemon_pid=None, tunnels=(), groups=())
    assert parse_report(json.loads(json.dumps(encode_report(nothing)))) == nothing


def test_programs_find_plain_values_in_the_order_of_the_fields() -> None:
    found = document()
    assert list(found)[:3] == ["instance", "state", "plane"]
    assert found["version"] == 1
    assert found["tunnels"][0]["state"] == "degraded"
    assert found["groups"][0]["members"][0]["health"] == "lost"


def test_an_older_daemon_leaves_out_what_it_does_not_know() -> None:
    found = document()
    del found["groups"], found["tunnels"][0]["selectors"]
    found["tunnels"][0]["of a newer one"] = True
    assert parse_report(found).groups == ()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("state",), "sideways"),
        (("tunnels",), {}),
        (("tunnels", 0), None),
        (("tunnels", 0, "mtu"), "1446"),
        (("tunnels", 0, "mtu"), True),
        (("tunnels", 0, "link"), []),
        (("tunnels", 0, "link", "tx_dropped"), None),
        (("tunnels", 0, "sas", 1), {}),
        (("engine",), 17),
    ],
)
def test_anything_else_is_refused(path: tuple[Any, ...], value: object) -> None:
    found = place = document()
    for one in path[:-1]:
        place = place[one]
    place[path[-1]] = value
    with pytest.raises(ValueError, match=r"no |not a valid"):
        parse_report(found)


@pytest.mark.parametrize("module", ["plutino.cli.status", "plutino.cli.plan", "plutino.cli.apply"])
def test_commands_that_a_daemon_serves_load_little(module: str) -> None:
    """Half a second of each, where tests and scripts call them by the thousand."""
    script = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert not {"pydantic", "cryptography", "plutino.daemon.passes"} & set(done.stdout.split())
