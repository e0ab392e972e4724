"""SHOW tells of a user what `system.*` tells, or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from workers.access.statements import quote_identifier
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


async def test_what_is_not_there_is_not_shown(target: Target, sql: Run, tag: str) -> None:
    there, gone = f"{tag}there", f"{tag}gone"
    await sql(f"CREATE USER {quote_identifier(there)}")
    await target.observe([], [])
    assert set((await target.observe([gone], [], fresh=False)).users) == set()
    assert set((await target.observe([gone, there], [], fresh=False)).users) == {there}
    assert set((await target.observe([there], [], fresh=False)).users) == {there}
