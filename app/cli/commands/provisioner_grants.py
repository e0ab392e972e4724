"""Print the least rights that the workers' account needs on a target."""

from __future__ import annotations

from pathlib import Path

import click

from app.cli.lookup import require_target
from app.cli.options import config_option, json_option, read_settings
from app.cli.output import print_object


@click.command("provisioner-grants")
@click.argument("tenant")
@click.argument("target")
@config_option
@json_option
def command(*, tenant: str, target: str, config: Path, as_json: bool) -> None:
    """Print the GRANT statements for the account that workers use for TENANT on TARGET.

    An administrator runs them there. They follow the roles that the configuration defines for
    TENANT: print them again when those change. With --json: an array of {statement}.

    Example: clickhouse-scim provisioner-grants acme eu | clickhouse-client --host ch-eu-1
    """
    settings = read_settings(config)
    lane = require_target(settings, tenant, target)[0]
    from workers.access.desired import role_definitions  # noqa: PLC0415 - not for --help
    from workers.access.statements import provisioner_grants  # noqa: PLC0415

    definitions = role_definitions(settings.tenants[tenant].roles)
    statements = provisioner_grants(settings.targets[lane.target].user, definitions.values())
    if as_json:
        print_object([{"statement": statement} for statement in statements])
    else:
        for statement in statements:
            click.echo(f"{statement};")
