"""Sending spans to a collector, and saying when nobody takes them."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

from app.clock import Clock

AGAIN_S = 60.0

log = structlog.get_logger()


class Exporter(OTLPSpanExporter):
    """Says once a minute how many spans were lost; the library by itself says more every second."""

    def __init__(self, endpoint: str, *, timeout_s: float, clock: Clock) -> None:
        super().__init__(endpoint, timeout=timeout_s)
        self._clock, self._said_at, self._lost = clock, -AGAIN_S, 0
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send them, from the thread that sends. What is not taken is lost."""
        result = super().export(spans)
        if result is not SpanExportResult.SUCCESS:
            self._lost += len(spans)
            now = self._clock.monotonic()
            if now - self._said_at >= AGAIN_S:
                log.warning("spans.lost", spans=self._lost)
                self._said_at, self._lost = now, 0
        return result
