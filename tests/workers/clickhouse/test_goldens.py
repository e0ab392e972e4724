"""Every statement that the goldens hold is one to the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from app.errors import StatementRefused
from tests.workers.access.test_statements import GOLDEN
from workers.access.statements import provisioner_grants, quote_literal
from workers.access.statements.leaving import alike_query, running_query
from workers.access.statements.observing import census_query, managed_query, observe_query

if TYPE_CHECKING:
    from workers.clickhouse.pool import Pool

QUERIES = [
    *(sql for _, statements in GOLDEN.values() for sql in statements),
    *provisioner_grants("o'hara `x`"),
    observe_query(["a'b", "c\\d"], ["r`1"], "m"),
    managed_query("m", "a'b", 5),
    census_query("m"),
    alike_query(["a'b"], "m"),
    running_query(["a'b"]),
]


@pytest.mark.parametrize("sql", QUERIES)
async def test_the_engine_parses_it(admin: Pool, sql: str) -> None:
    async with admin.session() as session:
        ((formatted,),) = await session.query(f"SELECT formatQuery({quote_literal(sql)})")
    assert formatted


async def test_the_engine_refuses_what_it_does_not_know(admin: Pool) -> None:
    async with admin.session() as session:
        with pytest.raises(StatementRefused) as refused:
            await session.query("SELECT formatQuery('GRANT `r` UNTO `u`')")
    assert refused.value.code == 62
