"""End a hold that `revoke --hold` has made, or list those that there are."""

from __future__ import annotations

from pathlib import Path

import click

from app.cli.lookup import require_tenant
from app.cli.options import config_option, json_option, read_joined_settings
from app.cli.output import print_rows, printable

_COLUMNS = ("tenant", "user", "resource_id", "since", "reason")


@click.command("release")
@click.argument("tenant")
@click.argument("user", required=False)
@config_option
@json_option
def command(*, tenant: str, user: str | None, config: Path, as_json: bool) -> int:
    """Let USER have again what the identity provider says; without USER, list who is held.

    Where targets keep the hold too, since Redis was down when it was made, every server has to
    answer: else nothing is released, and exit code 1 says so.

    Example: clickhouse-scim release acme ana@acme.example
    """
    settings = read_joined_settings(config)
    require_tenant(settings, tenant)
    from app.cli.linked import run_at  # noqa: PLC0415 - not for --help
    from app.cli.revoking import held_people, released  # noqa: PLC0415

    if user is None:
        rows = run_at(settings, tenant, lambda link: held_people(link, tenant))
        print_rows(rows, _COLUMNS, as_json=as_json, empty=f"nobody of {tenant} is held")
        return 0
    result = run_at(settings, tenant, lambda link: released(link, settings, tenant, user))
    for node, why in result.failures.items():
        click.echo(printable(f"{node} may keep a hold and did not answer: {why}"), err=True)
    if not result.holds:
        what = "nothing is released" if result.failures else f"nobody holds {user!r}"
        raise click.ClickException(
            f"{what}; `clickhouse-scim release {tenant}` lists who is held"
            if not result.failures
            else f"{what}: run this again when they answer"
        )
    rows = [{"tenant": tenant, "user": hold.user} for hold in result.holds]
    if as_json:
        print_rows(rows, _COLUMNS, as_json=True, empty="")
    else:
        for row in rows:
            click.echo(f"{printable(row['user'])} gets again what the identity provider says")
    return 0
