"""What a target says of its roles' grants is what the definitions say."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from app.config.privileges import parse_privilege
from workers.access.effects import Granted, granted_by
from workers.access.statements import render_privilege
from workers.clickhouse.granted import read_grants
from workers.clickhouse.pool import Endpoint, Pool

if TYPE_CHECKING:
    from tests.conftest import ClickHouseServer

GRANTS = (
    "SELECT(id, country), INSERT ON crm.customers",
    "SELECT ON analytics.*",
    "INSERT ON logs*.*",
    "SELECT ON crm.log*",
    "SHOW TABLES ON *.*",
)


async def test_grants_are_read_as_definitions_have_them(clickhouse: ClickHouseServer) -> None:
    pool = Pool(Endpoint(hosts=((clickhouse.host, clickhouse.port),), user="default"))
    name = f"t{uuid.uuid4().hex[:8]}"
    r, top, ana, bob = (f"{name}_{part}" for part in ("r", "top", "ana", "bob"))
    privileges = [parse_privilege(text) for text in GRANTS]
    async with pool.session() as session:
        await session.query(f"CREATE ROLE {r}, {top}")
        await session.query(f"CREATE USER {ana}, {bob} IDENTIFIED WITH no_password")
        for privilege in privileges:
            await session.query(f"GRANT {render_privilege(privilege)} TO {r}")
        await session.query(f"GRANT SELECT ON crm.* TO {top}")
        await session.query(f"REVOKE SELECT(secret) ON crm.customers FROM {top}")
        await session.query(f"GRANT {top} TO {r}")
        await session.query(f"GRANT {r} TO {ana}")
        await session.query(f"GRANT {top} TO {bob}")
    grants, holders = await read_grants(pool, [r], [top])
    await pool.close()
    assert grants.own[r] == granted_by(privileges)
    assert grants.own[top] == {
        Granted("crm.*", "SELECT"),
        Granted("crm.customers", "minus SELECT(secret)"),
    }
    assert grants.of([r]) == grants.own[r] | grants.own[top]
    assert holders == {ana: {r}, bob: {top}}
