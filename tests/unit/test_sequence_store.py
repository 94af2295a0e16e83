"""Sequence numbers on disk: nothing that was reserved is lost, whenever a crash comes."""

import resource
from ipaddress import ip_address
from pathlib import Path

import pytest

from plutino.daemon import sequence_store
from plutino.daemon.sequence_store import add_sequences, load_sequences, save_sequences
from plutino.desired.sequences import SaIdentity, SavedSequence
from plutino.model.errors import PlaneError

STATIC: SaIdentity = (ip_address("192.0.2.1"), 300, 50)
BY_IKE: SaIdentity = (ip_address("2001:db8::1"), 301, 50)
OTHER: SaIdentity = (ip_address("192.0.2.1"), 302, 50)
KEPT = SavedSequence(oseq=7, seq=9)
NEW = SavedSequence(oseq=1 << 24, by_ike=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "sequences.json"


def on_disk(path: Path) -> dict[SaIdentity, SavedSequence]:
    """What another process finds."""
    sequence_store._known.clear()
    return dict(load_sequences(path))


def test_nothing_is_there_at_first(path: Path) -> None:
    assert load_sequences(path) == {}


def test_what_is_added_is_there_beside_the_rest_and_in_what_was_read(path: Path) -> None:
    save_sequences(path, {STATIC: KEPT})
    read = load_sequences(path)
    add_sequences(path, {BY_IKE: NEW})
    add_sequences(path, {OTHER: NEW})
    assert read == load_sequences(path) == on_disk(path) == {STATIC: KEPT, BY_IKE: NEW, OTHER: NEW}


def test_it_is_added_where_there_is_no_file_yet(path: Path) -> None:
    add_sequences(path, {BY_IKE: NEW})
    assert on_disk(path) == {BY_IKE: NEW}


def test_a_whole_file_holds_what_was_added_and_ends_the_journal(path: Path) -> None:
    add_sequences(path, {BY_IKE: NEW})
    save_sequences(path, {STATIC: KEPT})
    assert on_disk(path) == {STATIC: KEPT}
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_a_line_that_a_crash_has_cut_is_none_and_the_next_one_counts(path: Path) -> None:
    add_sequences(path, {BY_IKE: NEW})
    journal = path.with_suffix(".journal")
    whole = journal.read_bytes()
    for length in range(1, len(whole)):
        journal.write_bytes(whole + whole[:length])
        assert on_disk(path) == {BY_IKE: NEW}
    add_sequences(path, {OTHER: NEW})
    assert on_disk(path) == {BY_IKE: NEW, OTHER: NEW}


def test_a_journal_that_a_crash_has_left_takes_nothing_back(path: Path) -> None:
    add_sequences(path, {BY_IKE: NEW, STATIC: SavedSequence(oseq=3, seq=12)})
    journal = path.with_suffix(".journal")
    left = journal.read_bytes()
    save_sequences(path, {BY_IKE: SavedSequence(oseq=1 << 25, by_ike=True), STATIC: KEPT})
    journal.write_bytes(left)
    found = on_disk(path)
    assert found[BY_IKE] == SavedSequence(oseq=1 << 25, by_ike=True)
    assert found[STATIC] == SavedSequence(oseq=7, seq=12)


def test_what_another_process_has_saved_meanwhile_counts(path: Path) -> None:
    add_sequences(path, {BY_IKE: NEW})
    known = dict(sequence_store._known)
    save_sequences(path, {STATIC: KEPT})
    sequence_store._known.update(known)
    add_sequences(path, {OTHER: NEW})
    assert on_disk(path) == {STATIC: KEPT, OTHER: NEW}


@pytest.mark.parametrize("line", [b"{}\n", b"\n", b"\0\0\n", b'{"destination": "x"}\n'])
def test_a_broken_line_does_not_count_as_none(path: Path, line: bytes) -> None:
    add_sequences(path, {BY_IKE: NEW})
    journal = path.with_suffix(".journal")
    journal.write_bytes(journal.read_bytes() + line)
    with pytest.raises(PlaneError, match=r"sequences\.journal cannot be read: a line lacks"):
        on_disk(path)


def test_a_disk_that_refuses_in_the_midst_of_it_leaves_what_was_there(path: Path) -> None:
    add_sequences(path, {BY_IKE: NEW})
    size = path.with_suffix(".journal").stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, before[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            add_sequences(path, {OTHER: NEW})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.with_suffix(".journal").stat().st_size == size
    assert load_sequences(path) == on_disk(path) == {BY_IKE: NEW}
