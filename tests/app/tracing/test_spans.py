"""What spans there are, to which trace they belong, and what they say."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler
from opentelemetry.trace import StatusCode

from app.tracing.spans import MOST, Answered, Tracing

UPSTREAM = f"00-{'a1' * 16}-{'b2' * 8}-01"
UPSTREAM_UNSAMPLED = UPSTREAM[:-2] + "00"


class Traced:
    """Makes spans and keeps those that have ended."""

    def __init__(self, sampler: Sampler = ALWAYS_ON) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(sampler=ParentBased(sampler), shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracing = Tracing(provider)

    @property
    def spans(self) -> dict[str, ReadableSpan]:
        return {span.name: span for span in self._exporter.get_finished_spans()}

    def all(self, name: str) -> list[ReadableSpan]:
        return [span for span in self._exporter.get_finished_spans() if span.name == name]

    def request(self, parent: str = "", status: int = 201) -> str:
        """Answer a request that commits; return what goes along with its event."""
        with self.tracing.request(parent) as span:
            self.tracing.timing(lambda _name, _seconds: None)("write", 0.002)
            span.answered(
                Answered(
                    tenant="acme",
                    method="POST",
                    resource="Users",
                    status=status,
                    request_id="r-1",
                    seq="7",
                )
            )
            return span.trace or trace_of(self.all("POST Users")[-1])


def trace_of(span: ReadableSpan) -> str:
    """Return the `traceparent` of a span."""
    return f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-01"


def parent_of(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


@pytest.fixture
def traced() -> Traced:
    return Traced()


def test_one_trace_goes_from_the_request_to_the_receipt(traced: Traced) -> None:
    trace = traced.request()
    with traced.tracing.batch("acme", "eu", [trace], is_ahead=False):
        traced.tracing.statement("CreateUser", "done", 0.004)
    traced.tracing.receipt(trace, "acme", "eu", asked_ms=1_700_000_000_000, nodes=2)
    spans = traced.spans
    request, batch = spans["POST Users"], spans["lane batch"]
    assert {span.context.trace_id for span in spans.values()} == {request.context.trace_id}
    parents = {name: parent_of(span) for name, span in spans.items()}
    assert parents == {
        "POST Users": None,
        "commit write": request.context.span_id,
        "lane batch": request.context.span_id,
        "statement CreateUser": batch.context.span_id,
        "leaver out": request.context.span_id,
    }
    assert dict(request.attributes or {}) == {
        "http.request.method": "POST",
        "http.response.status_code": 201,
        "scim.tenant": "acme",
        "scim.resource": "Users",
        "scim.request_id": "r-1",
        "scim.seq": 7,
    }


def test_a_span_of_what_is_over_is_as_long_as_it_took(traced: Traced) -> None:
    traced.request()
    commit = traced.spans["commit write"]
    assert commit.start_time is not None
    assert commit.end_time is not None
    assert commit.end_time - commit.start_time >= 2_000_000


def test_each_request_of_a_batch_has_the_batch_in_its_trace(traced: Traced) -> None:
    traces = [traced.request() for _ in range(MOST + 8)]
    with traced.tracing.batch("acme", "eu", traces, is_ahead=True):
        traced.tracing.statement("Grant", "done", 0.001)
    batches = traced.all("lane batch")
    assert len({span.context.trace_id for span in batches}) == MOST
    statement = traced.spans["statement Grant"]
    (first,) = [span for span in batches if span.context.span_id == parent_of(statement)]
    links = [link.context.span_id for span in batches for link in span.links]
    assert links == [first.context.span_id] * (MOST - 1)


def test_what_failed_is_an_error_without_a_word(traced: Traced) -> None:
    trace = traced.request(status=503)

    def fail() -> None:
        with traced.tracing.batch("acme", "eu", [trace], is_ahead=False):
            traced.tracing.statement("Grant", "refused", 0.001)
            raise ValueError("chscim_secret of ana@acme.example")

    with pytest.raises(ValueError, match="chscim"):
        fail()
    for name in ("POST Users", "statement Grant", "lane batch"):
        span = traced.spans[name]
        assert span.status.status_code is StatusCode.ERROR
        assert (span.status.description, list(span.events)) == (None, [])


def test_a_trace_of_the_proxy_in_front_goes_on(traced: Traced) -> None:
    traced.request(UPSTREAM)
    request = traced.spans["POST Users"]
    assert f"{request.context.trace_id:032x}" == "a1" * 16
    assert parent_of(request) == int("b2" * 8, 16)


@pytest.mark.parametrize("parent", ["", "00-zz", "\x00", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"])
def test_what_is_no_traceparent_begins_a_trace(traced: Traced, parent: str) -> None:
    traced.request(parent)
    assert parent_of(traced.spans["POST Users"]) is None


@pytest.mark.parametrize(("sampler", "parent"), [(ALWAYS_OFF, ""), (ALWAYS_ON, UPSTREAM_UNSAMPLED)])
def test_a_request_that_is_not_sampled_leaves_nothing_in_its_event(
    sampler: Sampler, parent: str
) -> None:
    traced = Traced(sampler)
    with traced.tracing.request(parent) as span:
        traced.tracing.timing(lambda _name, _seconds: None)("write", 0.001)
        assert span.trace == ""
    with traced.tracing.batch("acme", "eu", [], is_ahead=False):
        traced.tracing.statement("Grant", "done", 0.001)
    assert traced.spans == {}


def test_what_runs_beside_requests_is_no_span(traced: Traced) -> None:
    told: list[str] = []
    traced.tracing.timing(lambda name, _seconds: told.append(name))("lane_acquire", 0.001)
    traced.tracing.statement("Grant", "done", 0.001)
    assert (told, traced.spans) == (["lane_acquire"], {})


def test_a_request_that_nobody_was_admitted_to_is_no_span(traced: Traced) -> None:
    with traced.tracing.request(""):
        pass
    assert traced.spans == {}
