from __future__ import annotations

from typing import TYPE_CHECKING

from app.directory.directory import Directory, Origin
from app.directory.link import Link

if TYPE_CHECKING:
    from tests.app.cli.conftest import Cli

ASKED = Origin(request_id="r", token_id="t", digest="d")


async def test_members_that_are_nobody_are_listed_with_their_group(cli: Cli, link: Link) -> None:
    directory = Directory(link, cli.tenant, [])
    ana = await directory.create("user", {"userName": "ana"}, ASKED)
    members = [ana.id, *(f"later-{n:04}" for n in range(1500))]
    group = await directory.create("group", {"displayName": "Team"}, ASKED, members=members)
    ran = cli("pending", cli.tenant, "--json")
    assert ran.code == 0
    assert [row["member_id"] for row in ran.json] == members[1:]
    first = ran.json[0]
    assert (first["group"], first["group_id"]) == ("Team", group.id)
    assert first["since"] < first["ages_out_at"]
    table = cli("pending", cli.tenant)
    assert table.code == 0
    assert "later-1499" in table.out
    assert ana.id not in table.out


def test_that_everybody_is_known_is_said(cli: Cli) -> None:
    assert cli("pending", cli.tenant, "--json").json == []
    assert "is known" in cli("pending", cli.tenant).out


def test_an_unknown_tenant_is_wrong_usage(cli: Cli) -> None:
    ran = cli("pending", "nobody")
    assert (ran.code, ran.out) == (2, "")
    assert "there is no tenant 'nobody'" in ran.err
