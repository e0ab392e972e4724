"""Run everything on this machine, for development: Redis, ClickHouse, receiver and workers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from app.cli.options import json_option
from app.cli.output import print_object
from app.config.environment import process_environ

if TYPE_CHECKING:
    from app.sandbox.supervisor import Ready


@click.command("sandbox")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Take tenants, targets and role maps from FILE; targets without hosts get a server.",
)
@click.option("--tenants", metavar="A,B", help="Names of tenants.  [default: acme]")
@click.option("--targets", type=click.IntRange(1, 16), help="How many.  [default: 1]")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep data, ports and tokens here over a restart; default: a temporary folder.",
)
@json_option
def command(
    *,
    config: Path | None,
    tenants: str | None,
    targets: int | None,
    workers: int,
    data_dir: Path | None,
    as_json: bool,
) -> int:
    """Run a sandbox until Ctrl-C or SIGTERM. Children that die are started again.

    With --json one line of JSON is printed when everything answers, and nothing else on stdout.

    Example: clickhouse-scim sandbox --tenants acme,globex --data-dir ./sandbox-data
    """
    if config is not None and (tenants is not None or targets is not None):
        raise click.UsageError("--config FILE names tenants and targets itself; leave them out.")
    names = tuple((tenants or "acme").split(","))
    if len(set(names)) != len(names):
        raise click.UsageError("--tenants names one twice.")
    from app.sandbox.supervisor import Options, run_sandbox  # noqa: PLC0415 - not for --help

    options = Options(
        config=config,
        tenants=names,
        targets=targets or 1,
        workers=workers,
        data_dir=data_dir,
    )
    return run_sandbox(options, process_environ(), _print_json if as_json else _print_summary)


def _print_json(ready: Ready) -> None:
    print_object(ready.line)


def _print_summary(ready: Ready) -> None:
    """Print where everything is, and a first thing to try."""
    line = ready.line
    click.echo(f"The sandbox is ready ({ready.took_s:.1f} s). It is for development.\n")
    for tenant, place in line["scim"].items():
        click.echo(f"  tenant {tenant}")
        click.echo(f"    base URL  {place['base_url']}")
        click.echo(f"    token     {place['token']}")
    for target, url in line["clickhouse"].items():
        click.echo(f"  ClickHouse {target}  {url}")
        if target in line["clickhouse_http"]:
            click.echo(f"    over HTTP  {line['clickhouse_http'][target]}")
    click.echo(f"  Redis     {line['redis']}")
    click.echo(f"  metrics   {line['metrics']}")
    click.echo(f"  config    {line['config']}")
    click.echo(f"  logs      {ready.logs}")
    place = next(iter(line["scim"].values()))
    click.echo(
        "\nTry:\n"
        f"  curl -X POST {place['base_url']}/Users -H 'Authorization: Bearer {place['token']}' \\\n"
        "    -H 'Content-Type: application/scim+json' \\\n"
        '    -d \'{"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],'
        ' "userName": "ana@acme.example"}\'\n'
        "\nCtrl-C stops it."
    )
