"""Where traces are sent to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from app.config.section import Number, Section, Text

EXTRA = "opentelemetry.exporter.otlp.proto.http"


def _endpoint(text: str) -> str:
    try:
        parts = urlsplit(text)
        known = parts.scheme in {"http", "https"} and parts.hostname
        _ = parts.port
    except ValueError:
        known = None
    if not known or not parts.path.strip("/"):
        raise ValueError('is no such URL; write it as "http://collector:4318/v1/traces"')
    if parts.username is not None:
        raise ValueError(
            "holds a name or password, which never stands in this file; give a header in"
            " OTEL_EXPORTER_OTLP_HEADERS"
        )
    return text


def is_installed() -> bool:
    """Whether the extra is there."""
    try:
        return find_spec(EXTRA) is not None
    except ModuleNotFoundError:
        return False


class TracingSettings(Section):
    """`endpoint`: takes OTLP over HTTP. `share`: of the requests that nobody upstream traces."""

    endpoint: Annotated[Text, AfterValidator(_endpoint)]
    share: Annotated[Number, Field(gt=0, le=1)] = 1.0

    @classmethod
    def relations(cls, raw: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        if "endpoint" in raw and not is_installed():
            yield "endpoint", "needs the extra: pip install 'clickhouse-scim[otel]'"
