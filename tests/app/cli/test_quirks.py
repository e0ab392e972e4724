from __future__ import annotations

from typing import TYPE_CHECKING

from app.directory.link import Link
from app.directory.quirks import QuirkLog
from app.scim.quirks import READ_AS, Quirk

if TYPE_CHECKING:
    from tests.app.cli.conftest import Cli


async def test_quirks_are_listed_with_how_they_are_read(cli: Cli, link: Link) -> None:
    await QuirkLog(link, cli.tenant).add({Quirk.BOOLEAN_AS_TEXT: 12}, 1_000)
    ran = cli("quirks", cli.tenant, "--json")
    assert ran.code == 0
    assert ran.json == [
        {
            "quirk": "boolean-as-text",
            "read_as": READ_AS[Quirk.BOOLEAN_AS_TEXT],
            "count": 12,
            "last_at": "1970-01-01T00:00:01.000Z",
        }
    ]
    table = cli("quirks", cli.tenant)
    assert table.code == 0
    assert "boolean-as-text" in table.out
    assert "12" in table.out


async def test_no_quirks_is_said(cli: Cli, link: Link) -> None:
    assert cli("quirks", cli.tenant, "--json").json == []
    assert "nothing out of the ordinary" in cli("quirks", cli.tenant).out


def test_an_unknown_tenant_is_wrong_usage(cli: Cli) -> None:
    ran = cli("quirks", "nobody")
    assert (ran.code, ran.out) == (2, "")
    assert "there is no tenant 'nobody'" in ran.err
