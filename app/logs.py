"""Logs: one line an event on stderr, `noun.participle` and key=value; JSON unless a person reads.

No line holds an attribute's value, a token, a password or a hash: callers log names of keys,
counts and ids that this software made. Of an exception the line has the type and where it was
raised, not its message: that may repeat what a client sent (aiohttp's repeats the bad header).
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from threading import Lock
from traceback import format_tb
from typing import Any, TextIO

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_encode = msgspec.json.Encoder().encode


def configure_logs(*, level: int = logging.INFO, report: Processor | None = None) -> None:
    """Set logging up for this process; called once, by `main`.

    `report`: is given each line while it still holds its exception, and returns it.
    """
    is_json = not sys.stderr.isatty()
    output = _Output(sys.stderr, is_json=is_json)
    shared: list[Processor] = [_stamp, *([] if report is None else [report]), hide_messages]
    renderer: Processor = (
        structlog.processors.JSONRenderer(serializer=_json)
        if is_json
        else structlog.dev.ConsoleRenderer()
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: output,
        cache_logger_on_first_use=True,
    )
    atexit.register(output.flush)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)


class _Output:
    """Writes lines: one that tells of trouble at once, others with those of the same turn of the
    event loop. The requests of a turn would else wait for a write each.
    """

    def __init__(self, file: TextIO, *, is_json: bool) -> None:
        self._file, self.is_json = file, is_json
        self._lines: list[str] = []
        self._one_at_a_time = Lock()

    def info(self, line: str) -> None:
        self._lines.append(line)
        if len(self._lines) > 1:
            return
        try:
            asyncio.get_running_loop().call_soon(self.flush)
        except RuntimeError:  # no loop, or one that has ended
            self.flush()

    def error(self, line: str) -> None:
        self._lines.append(line)
        self.flush()

    debug = info
    warning = critical = error

    def flush(self) -> None:
        with self._one_at_a_time:
            lines, self._lines = self._lines, []
            if lines:
                self._file.write("\n".join(lines) + "\n")
                self._file.flush()


def every(event: str) -> Callable[[dict[str, Any]], None]:
    """Return what logs an event that comes with every request, by its keys and values, to which it
    adds its own.

    The lines are those of a logger's `info`, without its steps: of these there is nothing to hide.
    """
    output = structlog.get_config()["logger_factory"]()
    if not isinstance(output, _Output) or not output.is_json:
        info = structlog.get_logger().info
        return lambda line: info(event, **line)

    def write(line: dict[str, Any]) -> None:
        line["event"] = event
        line["level"] = "info"
        line["timestamp"] = _now()
        output.info(_encode(line).decode())

    return write


def _now() -> str:
    seconds, fraction = divmod(time.time_ns() // 1000, 1_000_000)
    return f"{_second(seconds)}.{fraction:06d}Z"


@lru_cache(maxsize=1)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]


def _stamp(_logger: WrappedLogger, method: str, line: EventDict) -> EventDict:
    """Add level and time."""
    line["level"] = "error" if method == "exception" else method
    line["timestamp"] = _now()
    return line


def _json(line: EventDict, default: Callable[[object], object]) -> str:
    return msgspec.json.encode(line, enc_hook=default).decode()


@contextmanager
def quiet() -> Iterator[None]:
    """Log nothing meanwhile: for commands, whose stderr is for people."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)


def hide_messages(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    """Put an exception's type and stack in the place of the exception."""
    error = exception_of(line)
    line.pop("exc_info", None)
    if error is not None:
        line["error"] = type(error).__name__
        line["stack"] = "".join(format_tb(error.__traceback__))
    return line


def exception_of(line: Mapping[str, Any]) -> BaseException | None:
    """Return the exception that a line was logged with, in whichever form it was given."""
    given = line.get("exc_info")
    if not given:
        return None
    if isinstance(given, tuple):
        error: BaseException | None = given[1]
        return error
    return given if isinstance(given, BaseException) else sys.exc_info()[1]
