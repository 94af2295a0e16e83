"""Interfaces of the engine take open files: too many are refused in words, before one is made."""

import os
import resource

import pytest

from plutino.dataplane.tun import MANY, check_open_files, queues_of_each
from plutino.model.errors import PlaneError


def test_more_than_the_limit_are_refused_with_what_helps() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    there = len(os.listdir("/proc/self/fd"))
    room = 50 * queues_of_each(50)
    resource.setrlimit(resource.RLIMIT_NOFILE, (there + room, before[1]))
    try:
        check_open_files(os.getpid(), 49)
        with pytest.raises(PlaneError, match=f"may have {there + room} open files") as refused:
            check_open_files(os.getpid(), 51)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert "external = true" in (refused.value.hint or "")


def test_a_process_that_is_gone_is_not_in_the_way() -> None:
    check_open_files(0, 10**6)


def test_of_many_interfaces_each_takes_one() -> None:
    """So that ten thousand of them are within the limit that many machines have."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    there = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (there + MANY, before[1]))
    try:
        check_open_files(os.getpid(), MANY)
        check_open_files(os.getpid(), 10, of=MANY)
        with pytest.raises(PlaneError, match="1 for each"):
            check_open_files(os.getpid(), MANY + 1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert queues_of_each(1) == min(os.cpu_count() or 1, 4)
