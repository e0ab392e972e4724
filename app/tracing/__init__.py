"""One trace from a request to what it did on targets; an extra, `clickhouse-scim[otel]`."""
