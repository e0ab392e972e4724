"""What the receiver counts, declared once. Labels are bounded by configuration and routes."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "scim_requests_total",
            "Requests answered.",
            ["tenant", "method", "resource", "status"],
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "scim_request_seconds",
            "From the request's head to its answer, in seconds.",
            ["method", "resource"],
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
            registry=self.registry,
        )
        self.bulk_left = Counter(
            "scim_bulk_left_total",
            "Resources that a failed operation of a Bulk request created and could not take away.",
            ["tenant"],
            registry=self.registry,
        )
        self.ignored_attributes = Counter(
            "scim_ignored_attributes_total",
            "Attributes left out of a request's body because no schema knows them.",
            ["tenant", "resource"],
            registry=self.registry,
        )
        self.events = Counter(
            "scim_events_total",
            "Changes committed to the event log.",
            ["tenant"],
            registry=self.registry,
        )

    def render(self) -> bytes:
        """Return the text exposition format of Prometheus."""
        return generate_latest(self.registry)
