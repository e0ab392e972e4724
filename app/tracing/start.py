"""Starting to trace, where the configuration says so and nowhere else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from app import __version__
from app.clock import Clock
from app.config.tracing import TracingSettings

if TYPE_CHECKING:
    from app.tracing.spans import Tracing

_SEND_S = 2.0


@contextmanager
def traced(settings: TracingSettings | None, process: str) -> Iterator[Tracing | None]:
    """Yield what makes the spans of this process, None without `settings`; at the end send what
    waits, for about twice _SEND_S at most. `process`: `receiver` or `worker`.

    Spans are sent by a thread; where nobody takes them the oldest of 2,048 are dropped. What OTLP
    knows beyond the endpoint (headers, a CA, attributes of the resource) the library reads from
    its own environment variables.
    """
    if settings is None:
        yield None
        return
    # An extra: without the table nothing of it is imported, nor has to be installed.
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio  # noqa: PLC0415

    from app.tracing.export import Exporter  # noqa: PLC0415
    from app.tracing.spans import Tracing  # noqa: PLC0415

    exporter = Exporter(settings.endpoint, timeout_s=_SEND_S, clock=Clock())
    service = {"service.name": f"clickhouse-scim-{process}", "service.version": __version__}
    provider = TracerProvider(
        resource=Resource.create(service),
        sampler=ParentBasedTraceIdRatio(settings.share),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(exporter))
    try:
        yield Tracing(provider)
    finally:
        late = threading.Timer(_SEND_S, exporter.shutdown)  # the library would try for 30 s
        late.daemon = True
        late.start()
        provider.shutdown()
        late.cancel()
