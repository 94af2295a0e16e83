"""What people read of a status: hints that counters give, and who speaks IKE."""

from dataclasses import replace

import pytest

from plutino.cli.status import render
from plutino.control.report import (
    GroupMemberReport,
    GroupReport,
    Health,
    IkeReport,
    SaReport,
    State,
    StatusReport,
    TunnelReport,
)


def sa(direction: str, packets: int) -> SaReport:
    return SaReport(
        direction, "0x1000", "aes256gcm16", 84 * packets, packets, packets, 1, 1, 1024, 0, 0
    )


def text(sent: int, received: int, *, state: State = State.UP, encapsulation: str = "esp") -> str:
    tunnel = TunnelReport(
        "berlin", state, "ipsec1", 1, 1422, "192.0.2.1", "198.51.100.2", encapsulation, (),
        (sa("in", received), sa("out", sent)), {}, ike=IkeReport(state.value),
    )  # fmt: skip
    return "\n".join(render(report(tunnel), 10.0))


def report(tunnel: TunnelReport) -> StatusReport:
    return StatusReport("default", tunnel.state, "kernel", None, 4711, (), (tunnel,), ())


def test_a_tunnel_that_only_sends_may_lose_esp_on_the_way() -> None:
    assert "ONE WAY: packets leave, and none has come back" in text(3, 0)
    assert '`encapsulation = "udp"`' in text(3, 0)
    assert '`encapsulation = "udp"`' not in text(3, 0, encapsulation="udp")


def test_a_tunnel_that_only_receives_may_not_forward() -> None:
    assert "ONE WAY: packets come in, and none has left" in text(0, 3)
    assert "`plutino doctor FILE`" in text(0, 3)


@pytest.mark.parametrize(("sent", "received"), [(0, 0), (2, 0), (0, 2), (3, 1), (1, 3), (9, 9)])
def test_few_packets_or_both_directions_tell_nothing(sent: int, received: int) -> None:
    assert "ONE WAY" not in text(sent, received)


def test_flows_that_several_tunnels_share_may_come_back_by_another() -> None:
    tunnel = TunnelReport(
        "berlin", State.UP, "ipsec1", 1, 1422, "192.0.2.1", "198.51.100.2", "esp", (),
        (sa("in", 0), sa("out", 9)), {},
    )  # fmt: skip
    members = tuple(GroupMemberReport(one, True, Health.OK) for one in ("berlin", "berlin-2"))
    shared = GroupReport("site", "ecmp", members)
    alone = GroupReport("site", "ecmp", (members[0], replace(members[1], active=False)))
    assert "ONE WAY" not in "\n".join(render(replace(report(tunnel), groups=(shared,)), 10.0))
    assert "ONE WAY" in "\n".join(render(replace(report(tunnel), groups=(alone,)), 10.0))


def test_without_a_daemon_it_is_said_who_speaks_ike() -> None:
    assert "IKE up" in text(0, 0)
    tunnel = TunnelReport(
        "berlin", State.DOWN, "ipsec1", 1, 1422, "192.0.2.1", "198.51.100.2", "esp", (), (), {},
        ike=IkeReport("down"),
    )  # fmt: skip
    alone = "\n".join(render(replace(report(tunnel), daemon_pid=None), 10.0))
    assert "IKE down: no daemon runs, and it alone speaks IKE: `plutino run FILE`" in alone
