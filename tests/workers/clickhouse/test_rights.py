"""What `missing_rights` says of an account, against what the engine lets it have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from workers.access.held import missing_rights
from workers.access.model import RoleDefinition
from workers.access.statements import needed_rights, provisioner_grants, quote_identifier
from workers.clickhouse.pool import Endpoint, Pool
from workers.doctor.rights import read_held

if TYPE_CHECKING:
    from tests.workers.clickhouse.conftest import Run


async def missing(endpoint: Endpoint, definition: RoleDefinition) -> list[str]:
    pool = Pool(endpoint)
    async with pool.session() as session:
        held = await read_held(session)
    await pool.close()
    assert held is not None
    lacking = missing_rights(needed_rights([definition]), *held)
    return [right.statement(endpoint.user) for right in lacking]


async def test_an_account_with_the_printed_rights_lacks_nothing(
    endpoint: Endpoint, definition: RoleDefinition
) -> None:
    assert await missing(endpoint, definition) == []


async def test_each_right_that_was_taken_away_is_missed_and_its_grant_mends_it(
    endpoint: Endpoint, definition: RoleDefinition, sql: Run
) -> None:
    for grant in provisioner_grants(endpoint.user, [definition]):
        if "`system`.`grants`" in grant:
            continue  # without it nothing can be told; see below
        await sql(
            grant.replace("GRANT ", "REVOKE ", 1)
            .replace(" TO `", " FROM `")
            .removesuffix(" WITH GRANT OPTION")
        )
        assert grant in await missing(endpoint, definition), grant
        await sql(grant)
        assert await missing(endpoint, definition) == []


@pytest.mark.parametrize(
    "revoked",
    [
        "REVOKE SELECT(id) ON analytics.orders FROM {account}",
        "REVOKE GRANT OPTION FOR SELECT ON analytics.* FROM {account}",
        "REVOKE DROP USER ON *.* FROM {account}",
    ],
)
async def test_a_part_of_a_right_is_not_the_right(
    endpoint: Endpoint, sql: Run, revoked: str, definition: RoleDefinition
) -> None:
    before = await missing(endpoint, definition)
    await sql(revoked.format(account=quote_identifier(endpoint.user)))
    assert before == []
    assert len(await missing(endpoint, definition)) >= 1


async def test_rights_that_come_by_a_role_count(
    endpoint: Endpoint, definition: RoleDefinition, sql: Run, tag: str
) -> None:
    account, role = f"{tag}second", f"{tag}staff"
    await sql(f"CREATE USER {account} IDENTIFIED WITH no_password")
    await sql(f"CREATE ROLE {role}")
    for grant in provisioner_grants(role, [definition]):
        await sql(grant)
    await sql(f"GRANT {role} TO {account}")
    by_role = Endpoint(hosts=endpoint.hosts, user=account)
    assert await missing(by_role, definition) == []


async def test_an_account_that_may_not_read_its_grants_is_told_apart(
    endpoint: Endpoint, sql: Run
) -> None:
    await sql(f"REVOKE SELECT ON system.grants FROM {quote_identifier(endpoint.user)}")
    pool = Pool(endpoint)
    async with pool.session() as session:
        assert await read_held(session) is None
    await pool.close()
