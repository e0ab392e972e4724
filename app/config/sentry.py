"""Where errors are reported to."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

from app.config.section import Section, Text


def _dsn(text: str) -> str:
    try:
        parts = urlsplit(text)
        known = parts.scheme in {"http", "https"} and parts.username and parts.hostname
        _ = parts.port
    except ValueError:
        known = None
    if not known or not parts.path.strip("/"):
        raise ValueError('is no DSN; write it as "https://KEY@sentry.example.com/1"')
    if parts.password is not None:
        raise ValueError("holds a secret key, which is of the old kind; leave it out")
    return text


class SentrySettings(Section):
    """`dsn`: of a Sentry project. `environment`: what its events are filed under."""

    dsn: Annotated[Text, AfterValidator(_dsn)]
    environment: Text = "production"
