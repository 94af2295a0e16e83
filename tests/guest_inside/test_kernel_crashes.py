"""``kill -9`` before each request of a command on the kernel plane, and then the next command."""

import re
import signal
from collections.abc import Iterator

import pytest

from plutino.lab.hosts import Host
from plutino.netlink.fault import FAULT_VARIABLE
from tests.support.exhaustive import EXHAUSTIVE
from tests.support.ip_command import ip_line
from tests.support.kernel_pair import FOREIGN
from tests.support.lab import Pair, running_pair

pytestmark = pytest.mark.guest

MOST = 200
"""Requests that an apply surely does not need."""
SHOWN = (
    *("-d link show", "-4 address show", "-6 address show scope global"),
    *("-4 route show table all", "-6 route show table all root 2001:db8::/32"),
    *("-6 route show table all root fd00::/8", "xfrm state", "xfrm policy"),
)
"""Without link-local addresses and their routes, which come when they like."""


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """Both hosts, where nothing runs but what others made at Paris."""
    with running_pair(plane="kernel", start=False) as one:
        for command in FOREIGN:
            ip_line(one.paris, command)
        yield one


def everything(host: Host) -> tuple[str, ...]:
    """Links, addresses, routes, SAs and policies, without numbers that differ each time."""
    changing = r"\b\d+: |oseq(-hi)? 0x\w+| tentative"
    return tuple(re.sub(changing, "", ip_line(host, command)) for command in SHOWN)


@pytest.mark.parametrize("command", ["apply", "down"])
def test_a_command_that_is_killed_at_any_request_is_made_good_by_the_next(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    host = pair.paris
    before = everything(host)
    assert host.plutino("apply", host.file).returncode == 0
    applied = everything(host)
    for number in range(1, MOST, 1 if EXHAUSTIVE else 5):
        if command == "apply":
            assert host.plutino("down").returncode == 0
            assert everything(host) == before, f"before request {number}"
        with monkeypatch.context() as fault:
            fault.setenv(FAULT_VARIABLE, str(number))
            killed = host.plutino(command, *([host.file] if command == "apply" else []))
        if killed.returncode == 0:
            break
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        if command == "down":
            assert host.plutino("down").returncode == 0
            assert everything(host) == before, f"after a kill before request {number}"
        again = host.plutino("apply", host.file)
        assert again.returncode == 0, f"after a kill before request {number}: {again.stderr}"
        assert everything(host) == applied, f"after a kill before request {number}"
    assert number > 5, "the fault did not strike"
    assert host.plutino("down").returncode == 0
    assert everything(host) == before
    pair.assert_nothing_in_clear()
