"""The configuration as values: what `load` returns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from app.config.ledger import LedgerSettings
from app.config.network import Network, parse_network
from app.config.redis import RedisSettings
from app.config.section import Number, Section, Text, Whole
from app.config.sentry import SentrySettings
from app.config.target import Target
from app.config.tenant import Tenant
from app.config.tracing import TracingSettings

MIB = 1 << 20


def _public_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if host is None or parts.scheme not in {"http", "https"} or parts.query or parts.fragment:
        raise ValueError('is no such URL; write it as "https://scim.example.com"')
    return url.rstrip("/")


class ReceiverSettings(Section):
    """Where the receiver listens. Port 0 lets the system choose.

    `public_url`: what clients call it, where a proxy stands before it; locations of resources begin
    with it. Without it they begin with the scheme and the host of the request. `trusted_proxies`:
    whose X-Forwarded-For and X-Forwarded-Proto are believed. `tls_certificate`, `tls_key`: PEM
    files; with them it speaks TLS.
    """

    host: Text = "127.0.0.1"
    port: Annotated[Whole, Field(ge=0, le=65535)] = 8080
    public_url: Annotated[Text, AfterValidator(_public_url)] | None = None
    trusted_proxies: tuple[Annotated[Network, BeforeValidator(parse_network)], ...] = ()
    tls_certificate: Path | None = None
    tls_key: Path | None = None

    @classmethod
    def relations(cls, raw: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        for one, other in (("tls_certificate", "tls_key"), ("tls_key", "tls_certificate")):
            if one in raw and other not in raw:
                yield one, f"has no use without {other}; name both files or none"


class Limits(Section):
    """What a request may ask for at most, and how many there may be.

    `max_in_flight`: of one process at a time; `requests_per_second` of a tenant, 0 = any, and
    `burst`, so many more after a quiet time: of all receivers together.
    `pending_days`: how long a member of a group may be no resource; 0 = for ever.
    """

    max_body_bytes: Annotated[Whole, Field(ge=1024, le=1024 * MIB)] = 10 * MIB
    max_page: Annotated[Whole, Field(ge=1, le=100_000)] = 1000
    default_page: Annotated[Whole, Field(ge=1, le=100_000)] = 100
    max_name_length: Annotated[Whole, Field(ge=1, le=4096)] = 256
    max_attribute_length: Annotated[Whole, Field(ge=1, le=16 * MIB)] = 65_536
    max_values: Annotated[Whole, Field(ge=1, le=100_000)] = 500
    max_members: Annotated[Whole, Field(ge=1, le=1_000_000)] = 200_000
    max_json_depth: Annotated[Whole, Field(ge=4, le=100)] = 16
    max_patch_operations: Annotated[Whole, Field(ge=1, le=100_000)] = 1000
    max_bulk_operations: Annotated[Whole, Field(ge=1, le=100_000)] = 1000
    max_bulk_bytes: Annotated[Whole, Field(ge=1024, le=1024 * MIB)] = 10 * MIB
    max_filter_length: Annotated[Whole, Field(ge=16, le=MIB)] = 8192
    max_filter_depth: Annotated[Whole, Field(ge=1, le=100)] = 32
    query_seconds: Annotated[Number, Field(gt=0, le=60)] = 5.0
    cursor_seconds: Annotated[Whole, Field(ge=1, le=86400)] = 3600
    max_in_flight: Annotated[Whole, Field(ge=8, le=100_000)] = 512
    requests_per_second: Annotated[Whole, Field(ge=0, le=1_000_000)] = 0
    burst: Annotated[Whole, Field(ge=1, le=1_000_000)] = 1000
    pending_days: Annotated[Number, Field(ge=0, le=36500)] = 90.0

    @classmethod
    def relations(cls, raw: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        page, most = raw.get("default_page", 100), raw.get("max_page", 1000)
        if isinstance(page, int) and isinstance(most, int) and page > most:
            yield "default_page", f"must not be more than max_page, which is {most}"


class WorkerSettings(Section):
    """How lanes are drained.

    `lease_seconds` bounds how long a killed worker holds a lane up; `statement_seconds` how long
    one statement may take before the target counts as unavailable.
    """

    lease_seconds: Annotated[Number, Field(ge=1, le=60)] = 5.0
    batch_events: Annotated[Whole, Field(ge=1, le=100_000)] = 1000
    batch_users: Annotated[Whole, Field(ge=1, le=10_000)] = 500
    sweep_seconds: Annotated[Number, Field(gt=0, le=60)] = 1.0
    statement_seconds: Annotated[Number, Field(gt=0, le=3600)] = 30.0


class Drift(Section):
    """How often a lane looks for changes made by others, 0 is never, and what comes of them."""

    interval_seconds: Annotated[Whole, Field(ge=0, le=86400)] = 300
    policy: Literal["repair", "report"] = "repair"


class Events(Section):
    """How long events stay in Redis once every lane, and the ledger, has them.

    `keep_seconds`: how long beyond that, to be looked into.
    `max_waiting`: a lane that is further behind goes through the whole directory instead.
    """

    keep_seconds: Annotated[Whole, Field(ge=0, le=2_592_000)] = 3600
    max_waiting: Annotated[Whole, Field(ge=1000, le=100_000_000)] = 500_000


class Guard(Section):
    """The brake for mass changes: how much may be taken from a tenant's users in one go.

    Held is what takes from at least `at_least` users, or so many grants, if that is more than
    `max_share` of all; 1 holds nothing.
    """

    max_share: Annotated[Number, Field(gt=0, le=1)] = 0.2
    at_least: Annotated[Whole, Field(ge=2, le=1_000_000)] = 10


class Settings(Section):
    """The whole file, checked; immutable, so a changed file is a new value."""

    redis: RedisSettings
    receiver: ReceiverSettings = ReceiverSettings()
    limits: Limits = Limits()
    worker: WorkerSettings = WorkerSettings()
    drift: Drift = Drift()
    guard: Guard = Guard()
    events: Events = Events()
    ledger: LedgerSettings | None = None
    sentry: SentrySettings | None = None
    tracing: TracingSettings | None = None
    targets: Mapping[str, Target]
    tenants: Mapping[str, Tenant]
