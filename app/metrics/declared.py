"""What receivers and workers count, declared once. Every label has few values, whoever calls.

A tenant's name is a label while there are few tenants; with more than MOST_TENANTS all of them are
`*`, and what concerns single ones is shown for the worst of them (`state`).
"""

from __future__ import annotations

from collections.abc import Collection
from http import HTTPStatus

from prometheus_client import CollectorRegistry, Counter, Histogram

from app.metrics.series import Count, Counts, Durations, Seen

MOST_TENANTS = 500
ANY_TENANT = "*"
NO_CODE = "none"  # nobody answered, or it is no error of ClickHouse
_COMMITS = frozenset({"write", "delete"})
_REFUSED, _FAILED = HTTPStatus.BAD_REQUEST.value, HTTPStatus.INTERNAL_SERVER_ERROR.value
_Request = tuple[str, str, str, int]
"""The label of its tenant, method, resource, status."""


class Metrics:
    """The counters of one process; `fleet` adds them up over all processes."""

    def __init__(self, tenants: Collection[str] = ()) -> None:
        self.registry = CollectorRegistry()
        self._tenants: frozenset[str] = frozenset()
        self.show(tenants)
        self.requests = Counts(
            self.registry,
            "scim_requests_total",
            "Requests answered.",
            ("method", "resource", "status"),
        )
        self.tenant_requests = Counts(
            self.registry,
            "scim_tenant_requests_total",
            "Requests of a tenant: ok below 400, refused from 400 on, failed from 500 on.",
            ("tenant", "result"),
        )
        self.request_seconds = Durations(
            self.registry,
            "scim_request_seconds",
            "From the request's head to its answer, in seconds.",
            (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
            ("method", "resource"),
        )
        self._of_request: dict[_Request, tuple[Count, Count, Seen]] = {}
        self.commit_seconds = Durations(
            self.registry,
            "scim_commit_seconds",
            "From sending a change to Redis to its being on disk there, in seconds.",
            (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 3),
        )
        self.bulk_left = self._counter(
            "scim_bulk_left_total",
            "Resources that a failed operation of a Bulk request created and could not take away.",
            "tenant",
        )
        self.ignored_attributes = self._counter(
            "scim_ignored_attributes_total",
            "Attributes left out of a request's body because no schema knows them.",
            "tenant",
            "resource",
        )
        self.events = Counts(
            self.registry, "scim_events_total", "Changes committed to the event log.", ("tenant",)
        )
        self.statements = self._counter(
            "scim_statements_total",
            "Statements sent to a target: done, refused, or unanswered.",
            "target",
            "kind",
            "result",
        )
        self.retries = self._counter(
            "scim_lane_retries_total",
            "Times that a lane let go of a target that could not be used, by ClickHouse's code.",
            "target",
            "code",
        )
        self.parked = self._counter(
            "scim_resources_parked_total",
            "Times that a target refused a resource, by ClickHouse's code.",
            "target",
            "code",
        )
        self.drift = self._counter(
            "scim_drift_total",
            "Differences found that others have made on a target.",
            "target",
            "repaired",
        )
        self.strays = self._counter(
            "scim_strays_total", "Managed users found that no resource is behind.", "target"
        )
        self.wiped = self._counter(
            "scim_targets_wiped_total",
            "Times that a target had forgotten all that was on it.",
            "target",
        )
        self.batch_seconds = self._histogram(
            "scim_batch_seconds",
            "From reading a batch of a lane to its acknowledgement, in seconds.",
            (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60),
            "target",
        )

    def note_request(
        self, tenant: str, method: str, resource: str, status: int, seconds: float
    ) -> None:
        """Count an answered request; one look-up finds all that counts it.

        `tenant`: its label, "" where nobody was let in.
        """
        key = tenant, method, resource, status
        counts = self._of_request.get(key)
        if counts is None:
            counts = self._of_request[key] = self._counts_of(key)
        one, of_tenant, seen = counts
        one.n += 1
        of_tenant.n += 1
        seen.observe(seconds)

    def _counts_of(self, request: _Request) -> tuple[Count, Count, Seen]:
        tenant, method, resource, status = request
        result = "failed" if status >= _FAILED else "refused" if status >= _REFUSED else "ok"
        return (
            self.requests.of(method, resource, status),
            self.tenant_requests.of(tenant, result) if tenant else Count(),
            self.request_seconds.of(method, resource),
        )

    def time_script(self, name: str, seconds: float) -> None:
        """Note how long Redis took for a script; those that commit are the ones to watch."""
        if name in _COMMITS:
            self.commit_seconds.observe(seconds)

    def show(self, tenants: Collection[str]) -> None:
        """Give each of `tenants` a label of its own, if they are not too many."""
        self._tenants = frozenset(tenants if len(tenants) <= MOST_TENANTS else ())

    def expect(self, targets: Collection[str]) -> None:
        """Show what seldom happens as 0 before it does: no rate sees a first step."""
        for target in targets:
            self.wiped.labels(target)
            self.strays.labels(target)
            for repaired in ("true", "false"):
                self.drift.labels(target, repaired)

    def tenant(self, name: str) -> str:
        """Return the label of a tenant."""
        return name if name in self._tenants else ANY_TENANT

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(name, meaning, labels, registry=self.registry)

    def _histogram(
        self, name: str, meaning: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(name, meaning, labels, buckets=buckets, registry=self.registry)
