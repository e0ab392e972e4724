"""Reading the configuration again while a program runs."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from app.config.settings import Settings
from app.errors import ConfigError

log = structlog.get_logger()


def reread(reload: Callable[[], Settings]) -> Settings | None:
    """Return the new settings; None, and a line in the log for each mistake, if they are broken."""
    try:
        return reload()
    except ConfigError as error:
        for problem in error.problems:
            log.error("config.refused", key=problem.key, reason=problem.reason)  # noqa: TRY400 - no bug of ours
        return None
