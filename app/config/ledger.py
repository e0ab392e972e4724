"""The ledger: where the audit tables live."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, Field

from app.config.section import NOT_IN_THE_FILE, Account, Flag, Number, Text, Whole
from app.config.target import NATIVE_PORT, Host

_SHAPE = 'write it as "clickhouse://ledger@ch-audit:9000/scim"'


def _ledger_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        password, _ = parts.password, parts.port
    except ValueError:
        raise ValueError(f"is no URL; {_SHAPE}") from None
    if parts.scheme != "clickhouse" or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"is no address of a ledger; {_SHAPE}")
    if password is not None:
        raise ValueError(f"holds a password, which {NOT_IN_THE_FILE}")
    if "/" in parts.path.strip("/"):
        raise ValueError(f"names more than one database; {_SHAPE}")
    return url


class LedgerSettings(Account):
    """`url`: native protocol.

    `max_backlog`: so many facts of one tenant wait in Redis while the ledger is down; more are not
    kept (events are, whatever happens). `events_days`, `facts_days`: how long rows stay; 0: for
    good.
    """

    url: Annotated[Text, AfterValidator(_ledger_url)]
    secure: Flag = False
    ca_file: Path | None = None
    max_backlog: Annotated[Whole, Field(ge=1000, le=100_000_000)] = 250_000
    flush_seconds: Annotated[Number, Field(gt=0, le=60)] = 1.0
    events_days: Annotated[Whole, Field(ge=0, le=36500)] = 0
    facts_days: Annotated[Whole, Field(ge=0, le=36500)] = 0

    later: ClassVar[Mapping[tuple[str, object], str]] = {("password", ...): NOT_IN_THE_FILE}

    @classmethod
    def relations(cls, raw: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        yield from super().relations(raw)
        if "ca_file" in raw and raw.get("secure", False) is False:
            yield "ca_file", "has no use without secure = true; set that or remove this"

    @property
    def host(self) -> Host:
        parts = urlsplit(self.url)
        return Host(parts.hostname or "", parts.port or NATIVE_PORT)

    @property
    def user(self) -> str:
        return unquote(urlsplit(self.url).username or "default")

    @property
    def database(self) -> str:
        return unquote(urlsplit(self.url).path.strip("/")) or "default"
