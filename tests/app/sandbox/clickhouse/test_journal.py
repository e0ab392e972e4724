"""An appended text is there after any crash; a torn one is not; damage is refused."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.sandbox.clickhouse.faults import CannotStart
from app.sandbox.clickhouse.journal import Journal

ONE_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), max_size=5)


def read(path: Path) -> list[str]:
    journal = Journal(path)
    try:
        return journal.open()
    finally:
        journal.close()


def write(path: Path, texts: list[str]) -> bytes:
    path.unlink(missing_ok=True)
    journal = Journal(path)
    journal.open()
    for text in texts:
        journal.append(text)
    journal.close()
    return path.read_bytes()


@ONE_FOLDER
@given(texts=TEXTS)
def test_what_was_appended_is_read_back_in_order(tmp_path: Path, texts: list[str]) -> None:
    write(tmp_path / "j", texts)
    assert read(tmp_path / "j") == texts


@ONE_FOLDER
@given(texts=TEXTS, data=st.data())
def test_wherever_it_is_torn_all_whole_records_stay(
    tmp_path: Path, texts: list[str], data: st.DataObject
) -> None:
    path = tmp_path / "j"
    whole = write(path, texts)
    last = write(path, [*texts, "the last one"])
    path.write_bytes(last[: data.draw(st.integers(len(whole), len(last) - 1))])
    assert read(path) == texts
    assert path.read_bytes() == whole  # cut off, so that the next record follows a whole one


def test_zeroes_at_the_end_are_a_torn_tail(tmp_path: Path) -> None:
    """A file system may have made the file longer, and then lost power before the bytes came."""
    path = tmp_path / "j"
    whole = write(path, ["a", "b"])
    path.write_bytes(whole + bytes(100))
    assert read(path) == ["a", "b"]


def test_damage_in_the_middle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "j"
    content = bytearray(write(path, ["first", "second", "third"]))
    content[content.index(b"second")] ^= 1
    path.write_bytes(content)
    with pytest.raises(CannotStart, match="damaged at byte"):
        read(path)


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "j").write_bytes(b"a text file\n")
    with pytest.raises(CannotStart, match="not a journal"):
        read(tmp_path / "j")


def test_a_replacement_is_all_that_is_left(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    journal.open()
    journal.append("old")
    journal.replace(["x", "y"])
    journal.append("z")
    assert journal.records == 3
    journal.close()
    assert read(tmp_path / "j") == ["x", "y", "z"]
    assert [path.name for path in tmp_path.iterdir()] == ["j"]


def test_its_owner_alone_can_read_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    journal.open()
    journal.close()
    assert stat.S_IMODE((tmp_path / "j").stat().st_mode) == 0o600
