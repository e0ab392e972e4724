"""SHOW tells of a user what `system.*` tells, or nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from app.clock import Clock
from app.errors import StatementRefused
from workers.access.model import RoleDefinition
from workers.access.statements import quote_identifier
from workers.clickhouse.pool import Pool, Row, Session
from workers.clickhouse.target import Target

if TYPE_CHECKING:
    from tests.workers.clickhouse.conftest import Run

PAST = "'2000-01-01 00:00:00'"
USERS = {
    "open": ("no_password", ()),
    "o'h\\a`ra ü": ("no_password", ()),
    "locked": ("no_password", ("ALTER USER {u} VALID UNTIL " + PAST + " HOST NONE",)),
    "ended only": ("no_password", ("ALTER USER {u} VALID UNTIL " + PAST,)),
    "shut only": ("no_password", ("ALTER USER {u} HOST NONE",)),
    "ldap": ("ldap SERVER 'co''rp\\n'", ()),
    "kerberos": ("kerberos", ()),
    "realm": ("kerberos REALM 'R'", ("ALTER USER {u} DEFAULT ROLE ALL",)),
    "certificate": ("ssl_certificate CN 'b', 'a'", ()),
    "alternative": ("ssl_certificate SAN 'URI:x'", ()),
    "http": ("http SERVER 's' SCHEME 'BASIC'", ()),
    "nobody": ("no_authentication", ()),
    "password": ("sha256_password BY 'x'", ()),
    "several": ("ldap SERVER 's', kerberos", ()),
    "local": ("no_password HOST LOCAL", ()),
    "settings": ("no_password SETTINGS max_threads = 3", ()),
    "ends later": ("no_password VALID UNTIL '2040-01-01 00:00:00'", ()),
    "roles": ("no_password", ("GRANT {m}, {r} TO {u}", "ALTER USER {u} DEFAULT ROLE ALL")),
    "admin": ("no_password", ("GRANT {r} TO {u} WITH ADMIN OPTION",)),
    "some default": ("no_password", ("GRANT {m}, {r} TO {u}", "SET DEFAULT ROLE {r} TO {u}")),
    "all but": (
        "no_password",
        ("GRANT {m}, {r} TO {u}", "ALTER USER {u} DEFAULT ROLE ALL EXCEPT {r}"),
    ),
    "none default": ("no_password", ("GRANT {r} TO {u}", "SET DEFAULT ROLE NONE TO {u}")),
    "privileges": ("no_password", ("GRANT SELECT ON db.* TO {u}", "GRANT {r} TO {u}")),
    "a role's name": ("no_password", ("GRANT {r} TO {u}",)),
}


@pytest.mark.parametrize("user", USERS)
async def test_few_users_are_shown_as_they_are(
    target: Target, sql: Run, tag: str, user: str
) -> None:
    login, statements = USERS[user]
    names = {"u": f"{tag}{user}", "m": target.marker, "r": f"{tag}a `role`"}
    quoted = {key: quote_identifier(name) for key, name in names.items()}
    await sql(f"CREATE ROLE {quoted['m']}, {quoted['r']}")
    await sql(f"CREATE USER {quoted['u']} IDENTIFIED WITH {login}")
    for statement in statements:
        await sql(statement.format_map(quoted))
    asked = await target.observe([names["u"]], [names["r"]])
    assert await target.observe([names["u"]], [names["r"]], fresh=False) == asked
    assert set(asked.users) == {names["u"]}
    old = Target(OldServer(target.pool.endpoint), target.marker, Clock())
    assert await old.observe([names["u"]], [names["r"]]) == asked
    await old.pool.close()


class OldServer(Pool):
    """A server of before 26.2: it does not know the columns that came with it."""

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        async with super().session() as session:
            query = session.query

            async def refusing(sql: str, **options: Any) -> Sequence[Row]:
                if "valid_until" in sql or "access_object" in sql:
                    raise StatementRefused("unknown identifier", code=47, statement=sql)
                return await query(sql, **options)

            session.query = refusing  # type: ignore[method-assign]
            yield session


async def test_an_old_server_is_asked_in_another_way_for_everybody_at_once(
    target: Target, sql: Run, tag: str
) -> None:
    """Nor does a name that reads like an end, or a role's shape, which it can't tell."""
    names = [f"{tag}{number}" for number in range(30)] + [f"{tag} VALID UNTIL '2000-01-01'"]
    for number, name in enumerate(names):
        until = "VALID UNTIL '2040-01-01 00:00:00'" if number % 2 else ""
        await sql(f"CREATE USER {quote_identifier(name)} IDENTIFIED WITH kerberos {until}")
    definition = RoleDefinition("r")
    asked = await target.observe(names, ["r"], definitions=[definition])
    old = Target(OldServer(target.pool.endpoint), target.marker, Clock())
    assert await old.observe(names, ["r"], definitions=[definition]) == asked
    assert {state.login.until for state in asked.users.values()} == {None, 2_208_988_800}
    await old.pool.close()


async def test_what_is_not_there_is_not_shown(target: Target, sql: Run, tag: str) -> None:
    there, gone = f"{tag}there", f"{tag}gone"
    await sql(f"CREATE USER {quote_identifier(there)}")
    await target.observe([], [])
    assert set((await target.observe([gone], [], fresh=False)).users) == set()
    assert set((await target.observe([gone, there], [], fresh=False)).users) == {there}
    assert set((await target.observe([there], [], fresh=False)).users) == {there}
