"""The sandbox's data directory: who owns it, and what is remembered in it over a restart."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.errors import ClickHouseScimError


class SandboxError(ClickHouseScimError):
    """The sandbox can't go on; the message says what to do."""


class Store:
    """Files of one sandbox, readable by their owner alone. One supervisor at a time uses them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "clickhouse-scim.toml"
        self.logs = folder / "logs"
        self.password = folder / "provisioner.password"

    def read(self, name: str) -> dict[str, Any]:
        """Return what `write` kept under `name`; nothing if there is none or it is damaged."""
        try:
            found = json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def write(self, name: str, value: object) -> None:
        self.write_text(self.folder / f"{name}.json", json.dumps(value))

    def write_text(self, path: Path, text: str) -> None:
        """Replace the file as a whole: a reader sees the old text or the new one (mode 0600)."""
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def provisioner_password(self) -> str:
        """Return the password of the workers' account, made at the first start."""
        with contextlib.suppress(OSError):
            if found := self.password.read_text(encoding="utf-8").strip():
                return found
        made = secrets.token_urlsafe(24)
        self.write_text(self.password, made)
        return made

    def folder_for(self, name: str) -> Path:
        path = self.folder / name
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path


@contextmanager
def opened(folder: Path | None) -> Iterator[Store]:
    """Own the data directory until the end; without `folder` a temporary one, removed then.

    Raises SandboxError while another supervisor owns it. The lock ends with this process, so
    a SIGKILL leaves none behind.
    """
    with contextlib.ExitStack() as stack:
        if folder is None:
            made = tempfile.TemporaryDirectory(
                prefix="clickhouse-scim-", ignore_cleanup_errors=True
            )
            folder = Path(stack.enter_context(made))
        folder = folder.absolute()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = stack.enter_context((folder / "lock").open("a", encoding="utf-8"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SandboxError(
                f"{folder} is in use by another sandbox; stop that one or use another --data-dir"
            ) from error
        store = Store(folder)
        store.folder_for("logs")
        yield store
