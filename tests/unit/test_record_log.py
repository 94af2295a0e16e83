"""Records in one file: a crash at any octet loses the last one alone, and what is gone is gone."""

import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from plutino.daemon import record_log
from plutino.daemon.record_log import RecordLog


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "records"


def on_disk(path: Path) -> dict[str, bytes]:
    """What another process finds."""
    return RecordLog(path).load()


def filled(path: Path) -> RecordLog:
    log = RecordLog(path)
    assert log.load() == {}
    log.add([("one", b"first"), ("two", b"second")])
    return log


def test_what_is_added_is_there_and_for_its_owner_alone(path: Path) -> None:
    log = filled(path)
    assert on_disk(path) == log.load() == {"one": b"first", "two": b"second"}
    assert [one.stat().st_mode & 0o077 for one in (path, path.parent)] == [0, 0]


def test_the_newest_of_a_name_counts_and_nothing_is_left_of_others(path: Path) -> None:
    log = filled(path)
    log.add([("one", b"third"), ("one", b"fourth")])
    log.drop("two")
    log.drop("nobody")
    assert on_disk(path) == {"one": b"fourth"}
    assert not any(one in path.read_bytes() for one in (b"first", b"second", b"third", b"two"))


def test_another_process_goes_on_with_it(path: Path) -> None:
    filled(path).close()
    log = RecordLog(path)
    log.load()
    log.add([("one", b"third"), ("new", b"")])
    assert on_disk(path) == {"two": b"second", "one": b"third", "new": b""}


def test_what_a_crash_has_cut_off_was_never_written(path: Path) -> None:
    filled(path)
    whole = path.read_bytes()
    first = len(whole) - len(b"two" + b"second") - 7
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        expected = {"one": b"first"} if length >= first else {}
        assert on_disk(path) == expected
        log = RecordLog(path)
        log.load()
        log.add([("three", b"x")])
        assert on_disk(path) == {**expected, "three": b"x"}


def test_nothing_is_left_of_what_a_crash_has_cut_off_once_another_is_added(path: Path) -> None:
    filled(path).add([("three", b"z" * 1000)])
    path.write_bytes(path.read_bytes()[:-1])
    log = RecordLog(path)
    log.load()
    log.add([("four", b"x")])
    assert on_disk(path) == {"one": b"first", "two": b"second", "four": b"x"}
    assert b"z" not in path.read_bytes()


def test_a_crash_before_the_one_that_was_replaced_is_void(path: Path) -> None:
    log = filled(path)
    before = path.read_bytes()
    log.add([("one", b"third")])
    path.write_bytes(before + path.read_bytes()[len(before) :])
    log = RecordLog(path)
    assert log.load()["one"] == b"third"
    log.drop("one")
    assert on_disk(path) == {"two": b"second"}


def test_a_file_that_is_mostly_void_gets_shorter(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_log, "_LEAST_WASTE", 1000)
    log = filled(path)
    longest = 0
    for number in range(200):
        log.add([("one", bytes(number % 7) + b"%d" % number)])
        longest = max(longest, path.stat().st_size)
    assert longest < 1200
    assert on_disk(path) == log.load() == {"two": b"second", "one": bytes(199 % 7) + b"199"}
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def limited(size: int, work: Callable[[], None]) -> None:
    """With no room for longer files."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        work()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_where_there_is_no_room_the_others_stay_and_one_can_still_be_dropped(path: Path) -> None:
    log = filled(path)

    def fill() -> None:
        with pytest.raises(OSError, match="too large"):
            log.add([("one", b"third"), ("three", b"fourth")])
        log.drop("one")

    limited(path.stat().st_size + 16, fill)
    assert on_disk(path) == {"two": b"second"}
    log.add([("one", b"fifth")])
    assert on_disk(path) == {"two": b"second", "one": b"fifth"}


def test_a_file_in_which_nothing_can_be_made_void_is_removed(path: Path) -> None:
    log = filled(path)
    limited(0, lambda: log.drop("one"))
    assert on_disk(path) == {}
    log.add([("three", b"x")])
    assert on_disk(path) == {"three": b"x"}
