"""Errors as Sentry gets them: where, what kind, of which lane; never a value that a client sent.

An event is built here, key by key, out of what the log line says: nothing is collected by itself,
no local variable, no request, no breadcrumb, and of an exception the type and the place. Texts that
go along are scrubbed all the same before they leave.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import sentry_sdk
import structlog
from structlog.typing import EventDict, WrappedLogger

from app import __version__
from app.clock import Clock
from app.config.sentry import SentrySettings
from app.errors import DirectoryError
from app.logs import configure_logs, exception_of

AGAIN_S = 60.0  # after one event of a group, so long none: 10,000 letters are one event a minute
_FLUSH_S = 2.0
_GROUPS = 1000
_TAGS = ("tenant", "target", "code", "step", "revocation")
_CONTEXT = ("request_id", "seq", "epoch", "attempts", "key")
_FRAMES = 50

_SECRETS = re.compile(
    r"chscim_\w+"  # tokens
    r"|(?i:\b(?:bearer|basic)\s+)\S+"
    r"|\b[0-9a-fA-F]{32,}\b|\$2[abxy]\$\S+"  # hashes
    r"|'(?:[^'\\]|\\.)*'?|`(?:[^`\\]|\\.)*`?|\"(?:[^\"\\]|\\.)*\"?"  # literals and names
    r"|[^\s@,;:<>()\[\]{}]+@[^\s@,;:<>()\[\]{}]+"  # e-mail addresses
)

log = structlog.get_logger()


def scrubbed(text: str) -> str:
    """Return `text` without tokens, hashes, e-mail addresses, and whatever stands in quotes."""
    return _SECRETS.sub("…", text)


class Reporter:
    """Sends what is logged as an error. A step of the log: it returns each line as it was."""

    def __init__(self, settings: SentrySettings, clock: Clock) -> None:
        self._client = sentry_sdk.Client(
            dsn=settings.dsn,
            environment=settings.environment,
            release=f"clickhouse-scim@{__version__}",
            default_integrations=False,
            auto_enabling_integrations=False,
            include_local_variables=False,
            include_source_context=False,
            max_breadcrumbs=0,
            send_client_reports=False,
            shutdown_timeout=_FLUSH_S,
            before_send=_scrub,
        )
        self._clock = clock
        self._sent_at: dict[tuple[str, ...], float] = {}

    def __call__(self, _logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
        if line.get("level") in {"error", "critical"}:
            group = _group(line)
            if self._is_due(group):
                self._client.capture_event(_event(line, group))
        return line

    def _is_due(self, group: tuple[str, ...]) -> bool:
        now = self._clock.monotonic()
        if now - self._sent_at.get(group, -AGAIN_S) < AGAIN_S:
            return False
        if len(self._sent_at) >= _GROUPS:
            self._sent_at.clear()
        self._sent_at[group] = now
        return True

    def close(self) -> None:
        """Send what waits, `_FLUSH_S` at most."""
        self._client.close(timeout=_FLUSH_S)


@contextmanager
def logging_to(settings: SentrySettings | None, clock: Clock) -> Iterator[None]:
    """Set this process's log up, with reports to Sentry if it is configured, until the end.

    What ends the process unforeseen is reported, too.
    """
    reporter = None if settings is None else Reporter(settings, clock)
    configure_logs(report=reporter)
    try:
        yield
    except Exception as error:
        if not _is_foreseen(error):
            log.exception("process.failed")
        raise
    finally:
        if reporter is not None:
            reporter.close()


def _is_foreseen(error: Exception) -> bool:
    """Whether it ends a process by right: `main` tells it in one line."""
    foreseen = (DirectoryError, OSError)
    if isinstance(error, ExceptionGroup):
        return error.split(foreseen)[1] is None
    return isinstance(error, foreseen)


def _group(line: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what an event is filed under: what happened, with which code, at which step."""
    error = exception_of(line)
    kind = "" if error is None else type(error).__name__
    place = "" if error is None else _place(error.__traceback__)
    told = (str(line[key]) for key in ("event", "code", "step") if line.get(key) is not None)
    return (*map(scrubbed, told), kind, place)


def _event(line: Mapping[str, Any], group: tuple[str, ...]) -> Any:
    error = exception_of(line)
    event: dict[str, Any] = {
        "level": line["level"],
        "logger": str(line.get("logger", "clickhouse-scim")),
        "logentry": {"message": group[0]},
        "fingerprint": list(group),
        "tags": _some(line, _TAGS),
        "contexts": {"scim": _some(line, _CONTEXT)},
    }
    if error is not None:
        event["exception"] = {
            "values": [
                {
                    "type": type(error).__name__,
                    "module": type(error).__module__,
                    "stacktrace": {"frames": list(_frames(error.__traceback__))[-_FRAMES:]},
                }
            ]
        }
    return event


def _some(line: Mapping[str, Any], keys: Iterable[str]) -> dict[str, str]:
    return {key: str(line[key]) for key in keys if line.get(key) not in (None, "")}


def _frames(traceback: TracebackType | None) -> Iterator[dict[str, Any]]:
    """Yield the places of a stack, oldest first."""
    while traceback is not None:
        code = traceback.tb_frame.f_code
        module = str(traceback.tb_frame.f_globals.get("__name__", ""))
        yield {
            "function": code.co_name,
            "module": module,
            "filename": code.co_filename.rpartition("/site-packages/")[2],
            "lineno": traceback.tb_lineno,
            "in_app": module.partition(".")[0] in {"app", "workers"},
        }
        traceback = traceback.tb_next


def _place(traceback: TracebackType | None) -> str:
    """Return the innermost place in our own code; line numbers change with each version."""
    ours = [frame for frame in _frames(traceback) if frame["in_app"]]
    return f"{ours[-1]['module']}.{ours[-1]['function']}" if ours else ""


def _scrub(event: Any, _hint: Any) -> Any:
    """Scrub each value that could hold text of others; the last thing before an event leaves."""
    for part in ("tags", "contexts", "extra"):
        event[part] = _scrubbed_values(event.get(part, {}))
    for gone in ("request", "user", "breadcrumbs", "modules"):
        event.pop(gone, None)
    return event


def _scrubbed_values(value: Any) -> Any:
    match value:
        case dict():
            return {key: _scrubbed_values(one) for key, one in value.items()}
        case list() | tuple():
            return [_scrubbed_values(one) for one in value]
        case str():
            return scrubbed(value)
        case _:
            return value
