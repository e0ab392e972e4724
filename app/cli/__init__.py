"""The `clickhouse-scim` command."""
