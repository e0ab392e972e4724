"""The spans of a trace: the request, Redis's scripts, a lane's batch, its statements, the receipt.

A trace's context goes along with each event as the text that W3C Trace Context calls `traceparent`,
so whoever applies the event continues the trace. What a span says is fixed here: names of tenants
and targets, kinds, counts, ids that this software made. No name of a user or role, no attribute's
value, no statement and no message of an exception.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from opentelemetry.context import Context, attach, detach
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import (
    Link,
    Span,
    SpanKind,
    StatusCode,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from app import __version__
from app.directory.scripts import COMMITS, Timed

MOST = 32  # traces that one batch is shown in; it may hold the events of 1,000 requests
_FAILED = 500
_PARENT = "traceparent"
_W3C = TraceContextTextMapPropagator()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What is told of a request. `seq`: of the event that it made, "" if none."""

    tenant: str
    method: str
    resource: str
    status: int
    request_id: str
    seq: str


class Tracing:
    """Makes spans for one process."""

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer = provider.get_tracer("clickhouse-scim", __version__)

    @contextmanager
    def request(self, parent: str) -> Iterator[OpenRequest]:
        """Open the span of a request for as long as this is open. `parent`: the `traceparent` of
        whoever asks, "" where there is none to be believed. A request of which nothing is told is
        no span: strangers fill nobody's storage.
        """
        span = self._tracer.start_span("request", _context(parent), kind=SpanKind.SERVER)
        token = attach(set_span_in_context(span, Context()))
        try:
            yield OpenRequest(span)
        finally:
            detach(token)

    def timing(self, timed: Timed) -> Timed:
        """Return `timed`, with a span of each script that runs within another span."""

        def timed_and_traced(name: str, seconds: float) -> None:
            timed(name, seconds)
            if get_current_span().is_recording():
                what = "commit" if name in COMMITS else "redis"
                span = self._past(f"{what} {name}", seconds)
                span.set_attribute("db.system.name", "redis")
                span.end()

        return timed_and_traced

    @contextmanager
    def batch(
        self, tenant: str, target: str, traces: Sequence[str], *, is_ahead: bool
    ) -> Iterator[None]:
        """Open the span of a lane's batch of events, in the trace of the first of them.

        The traces of MOST - 1 others get a span of the same length that links to it. Without a
        trace there is no span.
        """
        few = list(dict.fromkeys(traces))[:MOST]
        if not few:
            yield
            return
        told: dict[str, AttributeValue] = {
            "scim.tenant": tenant,
            "scim.target": target,
            "scim.ahead": is_ahead,
        }
        span = self._tracer.start_span("lane batch", _context(few[0]), attributes=told)
        links = [Link(span.get_span_context(), {"scim.what": "the batch with the statements"})]
        others = [
            self._tracer.start_span("lane batch", _context(one), attributes=told, links=links)
            for one in few[1:]
        ]
        token = attach(set_span_in_context(span, Context()))
        try:
            yield
        except BaseException:
            for one in (span, *others):
                one.set_status(StatusCode.ERROR)
            raise
        finally:
            detach(token)
            for one in (span, *others):
                one.end()

    def statement(self, kind: str, result: str, seconds: float) -> None:
        """Add a statement that a target has answered just now, or has not, to the batch's span."""
        if get_current_span().is_recording():
            span = self._past(f"statement {kind}", seconds, SpanKind.CLIENT)
            span.set_attributes({"db.system.name": "clickhouse", "scim.result": result})
            if result != "done":
                span.set_status(StatusCode.ERROR)
            span.end()

    def receipt(self, trace: str, tenant: str, target: str, *, asked_ms: int, nodes: int) -> None:
        """Add, to the trace that took somebody's access, that they were seen out of every server.

        The span is as long as they still had a way in: from the commit, `asked_ms` since 1970.
        """
        span = self._tracer.start_span(
            "leaver out",
            _context(trace),
            start_time=asked_ms * 1_000_000,
            attributes={"scim.tenant": tenant, "scim.target": target, "scim.servers": nodes},
        )
        span.end()

    def _past(self, name: str, seconds: float, kind: SpanKind = SpanKind.INTERNAL) -> Span:
        started_ns = time.time_ns() - round(seconds * 1e9)
        return self._tracer.start_span(name, start_time=started_ns, kind=kind)


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """A request that is under way."""

    _span: Span

    @property
    def trace(self) -> str:
        """What goes along with the event; "" where this request is not sampled."""
        if not self._span.is_recording():
            return ""
        carrier: dict[str, str] = {}
        _W3C.inject(carrier, set_span_in_context(self._span, Context()))
        return carrier[_PARENT]

    def answered(self, told: Answered) -> None:
        """End the span."""
        span = self._span
        span.update_name(f"{told.method} {told.resource}")
        span.set_attributes(
            {
                "http.request.method": told.method,
                "http.response.status_code": told.status,
                "scim.tenant": told.tenant,
                "scim.resource": told.resource,
                "scim.request_id": told.request_id,
            }
        )
        if told.seq:
            span.set_attribute("scim.seq", int(told.seq))
        if told.status >= _FAILED:
            span.set_status(StatusCode.ERROR)
        span.end()


def _context(traceparent: str) -> Context:
    """Return the context that a span continues; a new trace's for what is no traceparent."""
    return _W3C.extract({_PARENT: traceparent}, Context()) if traceparent else Context()
