"""A span around each request; in the receiver only where traces are configured."""

from __future__ import annotations

from aiohttp import web

from app.http.address import is_proxy
from app.http.answers import Answer
from app.http.dispatch import Dispatch
from app.http.receiver import Receiver
from app.tracing.spans import Answered, Tracing


async def respond_traced(receiver: Receiver, tracing: Tracing, request: web.BaseRequest) -> Answer:
    """Return what `Dispatch` answers.

    Whose X-Forwarded-For is believed is also believed to continue a trace; whoever else names one
    begins a new one. What nobody was admitted to is not traced.
    """
    is_ours = is_proxy(request.remote, receiver.settings.receiver.trusted_proxies)
    parent = request.headers.get("traceparent", "") if is_ours else ""
    with tracing.request(parent) as span:
        dispatch = Dispatch(receiver, request, span.trace)
        answer = await dispatch.respond()
        tenant, endpoint = dispatch.asked
        if tenant:
            span.answered(
                Answered(
                    tenant=tenant,
                    method=request.method,
                    resource=endpoint,
                    status=answer.status.value,
                    request_id=answer.headers["X-Request-Id"],
                    seq=answer.headers.get("X-Event-Seq", ""),
                )
            )
    return answer
