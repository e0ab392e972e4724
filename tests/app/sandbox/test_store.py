from __future__ import annotations

import stat
from pathlib import Path

import pytest

from app.sandbox.store import SandboxError, opened


def test_two_sandboxes_never_share_a_data_directory(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with (
        opened(folder),
        pytest.raises(SandboxError, match="in use by another sandbox"),
        opened(folder),
    ):
        pass
    with opened(folder):
        pass


def test_what_is_written_is_read_back_and_nobody_elses(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        assert store.read("tokens") == {}
        store.write("tokens", {"acme": "secret"})
        assert store.read("tokens") == {"acme": "secret"}
        assert stat.S_IMODE((tmp_path / "tokens.json").stat().st_mode) == 0o600
        assert [path.name for path in tmp_path.glob(".*")] == []


@pytest.mark.parametrize("text", ["", "{", "[]"], ids=["empty", "broken", "no object"])
def test_a_damaged_file_counts_as_missing(tmp_path: Path, text: str) -> None:
    (tmp_path / "ports.json").write_text(text)
    with opened(tmp_path) as store:
        assert store.read("ports") == {}


def test_the_password_is_made_once_and_kept(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        made = store.provisioner_password()
        assert len(made) >= 32
        assert store.password.read_text() == made
        assert stat.S_IMODE(store.password.stat().st_mode) == 0o600
    with opened(tmp_path) as store:
        assert store.provisioner_password() == made


def test_a_temporary_data_directory_is_removed() -> None:
    with opened(None) as store:
        folder = store.folder
        store.write("x", {})
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not folder.exists()
