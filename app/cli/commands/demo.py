"""Play a day of an identity provider's traffic and show what happens on ClickHouse."""

from __future__ import annotations

import click


@click.command("demo")
def command() -> int:
    """Start a sandbox, push people and groups over HTTP, and show the access that follows.

    Needs no configuration, and removes the servers that it started. On the ClickHouse that
    CLICKHOUSE_URL names, its users, roles and tables stay: give it an empty one.

    Example: clickhouse-scim demo
    """
    from app.sandbox.demo import run  # noqa: PLC0415 - not for --help

    return run()
