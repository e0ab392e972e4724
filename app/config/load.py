"""Reading the file: everything that is wrong with it at once, or Settings."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import SecretStr, ValidationError

from app.config import overrides
from app.config.checks import Draft, check_sharing, check_tenant
from app.config.ledger import LedgerSettings
from app.config.nodes import by_node
from app.config.redis import RedisSettings
from app.config.section import Account, Section, unknown_key
from app.config.sentry import SentrySettings
from app.config.settings import (
    Drift,
    Events,
    Guard,
    Limits,
    ReceiverSettings,
    Settings,
    WorkerSettings,
)
from app.config.target import Target
from app.config.tenant import Tenant
from app.config.tracing import TracingSettings
from app.errors import ConfigError, Problem

TENANT_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
TARGET_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")

AnySection = TypeVar("AnySection", bound=Section)
AnyAccount = TypeVar("AnyAccount", bound=Account)


def load(path: Path, environ: Mapping[str, str]) -> Settings:
    """Return the settings of the file at `path`, the overrides of `environ` over it.

    Raises ConfigError with every mistake, each under its key; no message repeats a secret.
    """
    return check(read_tables(path, environ), environ, path.parent)


def check(applied: overrides.Applied, environ: Mapping[str, str], folder: Path) -> Settings:
    """Return the tables of `applied` as settings; relative paths in them start at `folder`.

    Raises ConfigError as `load` does. Between `read_tables` and this, the sandbox gives targets
    without hosts the servers that it starts for them.
    """
    return _Loading(applied, environ, folder).settings()


def read_tables(path: Path, environ: Mapping[str, str]) -> overrides.Applied:
    """Return the file's tables, unchecked, with the overrides of `environ`.

    Raises ConfigError if there is no such file or it is no TOML.
    """
    try:
        raw = tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        reason = f"can't be read: {error.strerror or error}; name the file with --config"
        raise ConfigError([Problem(str(path), reason)]) from error
    except UnicodeDecodeError as error:
        reason = f"is no UTF-8 text (byte {error.start + 1}); save it as UTF-8"
        raise ConfigError([Problem(str(path), reason)]) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([Problem(str(path), _syntax(str(error)))]) from error
    return overrides.apply(raw, environ)


def _syntax(message: str) -> str:
    """Return `Invalid value (at line 3, column 5)` as `line 3, column 5: invalid value …`."""
    what, _, where = message.partition(" (at ")
    return f"{where.rstrip(')')}: {what[:1].lower()}{what[1:]}; mend the TOML there"


class _Loading:
    """One reading of the file: collects problems, then answers with settings or all of them."""

    def __init__(self, applied: overrides.Applied, environ: Mapping[str, str], base: Path) -> None:
        self._raw, self._sources = applied.raw, applied.sources
        self._problems = list(applied.problems)
        self._environ, self._base = environ, base

    def settings(self) -> Settings:
        self._check_top_level()
        redis = self._section("redis", RedisSettings)
        receiver = self._section("receiver", ReceiverSettings)
        limits = self._section("limits", Limits)
        worker = self._section("worker", WorkerSettings)
        drift = self._section("drift", Drift)
        guard = self._section("guard", Guard)
        events = self._section("events", Events)
        ledger = self._section("ledger", LedgerSettings) if "ledger" in self._raw else None
        sentry = self._section("sentry", SentrySettings) if "sentry" in self._raw else None
        tracing = self._section("tracing", TracingSettings) if "tracing" in self._raw else None
        targets = self._targets()
        drafts = self._drafts()
        names = frozenset(self._entries("targets"))
        for draft in drafts:
            self._problems += check_tenant(draft, targets, names)
        self._problems += check_sharing(drafts)
        if redis is not None:
            redis = self._with_passwords(redis)
        if ledger is not None:
            ledger = self._with_files("ledger", ledger)
        if receiver is not None:
            receiver = self._with_tls_files(receiver)
        targets = {name: self._with_files(f"targets.{name}", one) for name, one in targets.items()}
        if self._problems or not (
            redis and receiver and limits and worker and drift and guard and events
        ):
            raise ConfigError([self._with_source(one) for one in self._problems])
        settings = Settings(
            redis=redis,
            receiver=receiver,
            limits=limits,
            worker=worker,
            drift=drift,
            guard=guard,
            events=events,
            ledger=ledger,
            sentry=sentry,
            tracing=tracing,
            targets=targets,
            tenants={draft.name: draft.tenant for draft in drafts},
        )
        return by_node(settings)

    def _check_top_level(self) -> None:
        for key in self._raw:
            if key not in Settings.model_fields:
                self._tell(key, unknown_key(key, Settings.model_fields))
        for key in ("targets", "tenants"):
            if not self._raw.get(key):
                self._tell(key, f"is missing; add [{key}.NAME]")
            elif not isinstance(self._raw[key], dict):
                self._tell(key, f"must be a table of tables, as in [{key}.NAME]")

    def _entries(self, key: str) -> dict[str, Any]:
        table = self._raw.get(key)
        return table if isinstance(table, dict) else {}

    def _section(self, key: str, kind: type[AnySection]) -> AnySection | None:
        return self._checked(key, self._raw.get(key, {}), kind)[0]

    def _targets(self) -> dict[str, Target]:
        found = {}
        for name, raw in self._entries("targets").items():
            key = f"targets.{name}"
            if not TARGET_NAME.fullmatch(name):
                self._tell(key, "is no name of a target; use a-z, 0-9, _ and -, at most 63")
            target, broken = self._checked(key, raw, Target)
            if target is None or broken:
                continue
            if not target.hosts:
                self._tell(f"{key}.hosts", 'is missing; add it, as in ["clickhouse-1:9000"]')
            found[name] = target
        return found

    def _drafts(self) -> list[Draft]:
        drafts = []
        for name, raw in self._entries("tenants").items():
            key = f"tenants.{name}"
            if not TENANT_NAME.fullmatch(name):
                self._tell(key, "is no name of a tenant; use a-z, 0-9 and -, at most 63")
            tenant, broken = self._checked(key, raw, Tenant)
            if tenant is not None:
                drafts.append(Draft(name, tenant, broken))
        return drafts

    def _checked(
        self, key: str, raw: object, kind: type[AnySection]
    ) -> tuple[AnySection | None, frozenset[str]]:
        """Return `raw` as `kind`, and its keys that are broken and hold defaults instead.

        With the broken keys left out the rest still takes part in the checks between tables, so
        that one reading tells everything. None if what is left is no `kind`.
        """
        try:
            return kind.model_validate(raw), frozenset()
        except ValidationError as error:
            told = error.errors()
        for one in told:
            self._tell(_key(key, raw, one["loc"]), one["msg"])
        broken = frozenset(str(one["loc"][0]) for one in told if one["loc"])
        if not isinstance(raw, dict):
            return None, broken
        try:
            rest = {name: value for name, value in raw.items() if name not in broken}
            return kind.model_validate(rest), broken
        except ValidationError:
            return None, broken

    def _with_passwords(self, redis: RedisSettings) -> RedisSettings:
        """Return `redis` with its password and those of the tables in it."""
        update: dict[str, object] = {}
        if redis.sentinel is not None:
            update["sentinel"] = self._with_files("redis.sentinel", redis.sentinel)
        if redis.queue is not None:
            update["queue"] = self._with_files("redis.queue", redis.queue)
        return self._with_files("redis", redis).model_copy(update=update)

    def _with_files(self, key: str, account: AnyAccount) -> AnyAccount:
        """Return `account` with the password that its password_env or password_file names.

        Paths are relative to the file's folder.
        """
        update: dict[str, object] = {}
        if (password := self._password(key, account)) is not None:
            update["password"] = SecretStr(password)
        if isinstance(account, Target | LedgerSettings) and account.ca_file is not None:
            update["ca_file"] = ca_file = self._base / account.ca_file
            if not ca_file.is_file():
                self._tell(f"{key}.ca_file", f"there is no file {ca_file}")
        return account.model_copy(update=update)

    def _with_tls_files(self, receiver: ReceiverSettings) -> ReceiverSettings:
        update: dict[str, object] = {}
        for name in ("tls_certificate", "tls_key"):
            if (path := getattr(receiver, name)) is not None:
                update[name] = file = self._base / path
                if not file.is_file():
                    self._tell(f"receiver.{name}", f"there is no file {file}")
        return receiver.model_copy(update=update)

    def _password(self, key: str, account: Account) -> str | None:
        if (variable := account.password_env) is not None:
            if not (password := self._environ.get(variable)):
                reason = f"environment variable {variable} is not set; set it"
                self._tell(f"{key}.password_env", reason)
            return password
        if account.password_file is None:
            return None
        file = self._base / account.password_file
        try:
            return file.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
            self._tell(f"{key}.password_file", f"can't read {file}: {why}")
            return None

    def _tell(self, key: str, reason: str) -> None:
        self._problems.append(Problem(_one_line(key), _one_line(reason)))

    def _with_source(self, problem: Problem) -> Problem:
        """Add the variable to a problem whose value came out of the environment."""
        for key, variable in self._sources.items():
            if problem.key == key or problem.key.startswith((f"{key}.", f"{key}[")):
                return Problem(problem.key, f"{problem.reason} (set by {variable})")
        return problem


def _one_line(text: str) -> str:
    """Return `text` with what moves a cursor escaped: names in it are the file's."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def _key(root: str, raw: object, loc: tuple[int | str, ...]) -> str:
    """Return `loc` as the file has it: without the steps that pydantic puts in for unions."""
    return root + "".join(_steps(raw, loc))


def _steps(raw: object, loc: tuple[int | str, ...]) -> Iterator[str]:
    for at, step in enumerate(loc):
        if isinstance(step, int):
            raw = raw[step] if isinstance(raw, list) and step < len(raw) else None
            yield f"[{step}]"
        elif isinstance(raw, dict) and (step in raw or at == len(loc) - 1) and step != "[key]":
            raw = raw.get(step)
            yield f".{step}"
