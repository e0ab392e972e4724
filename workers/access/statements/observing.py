"""Reading a target: one query about users and roles, and its rows as values.

`SHOW ACCESS` opens `system.users` and `system.roles`; `system.role_grants` and `system.grants` each
need SELECT (`rights.provisioner_grants`).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from workers.access.model import Actual, Door, Login, RoleState, UserState
from workers.access.statements.quoting import literals, quote_literal

# kind, name, detail, door, default_all, methods, params
Row = tuple[str, str, str, str, int, list[str], list[str]]

_LISTS = "emptyArrayString(), emptyArrayString()"
# SSL certificates are the only method with lists; the names are those of CREATE USER's clauses.
_PARAMS = {
    "server": "server",
    "scheme": "scheme",
    "realm": "realm",
    "common_names": "common_name",
    "subject_alt_names": "subject_alt_name",
}


def observe_query(names: Collection[str], roles: Collection[str], marker: str) -> str:
    """Return one query about these users and roles, and the users that share a role's name.

    A method without an end has `valid_until` 0, which is neither past nor a lock. Whether an end
    has passed is asked of the server's clock. `system.users.valid_until` exists since 26.2.
    """
    users_in, roles_in = _in({*names, *roles}), _in({*roles, marker})
    return f"""\
SELECT 'user' AS kind, name, '' AS detail,
    multiIf(
        empty(host_ip) AND empty(host_names) AND empty(host_names_regexp)
            AND empty(host_names_like) AND notEmpty(valid_until)
            AND arrayAll(t -> toUnixTimestamp(t) > 0 AND t <= now(), valid_until), 'locked',
        (notEmpty(host_ip) OR notEmpty(host_names) OR notEmpty(host_names_regexp)
            OR notEmpty(host_names_like))
            AND arrayAll(t -> toUnixTimestamp(t) = 0, valid_until), 'open',
        'ajar') AS door,
    toUInt8(default_roles_all = 1 AND empty(default_roles_except)) AS default_all,
    arrayMap(x -> toString(x), auth_type) AS methods, auth_params AS params
FROM system.users WHERE name IN {users_in}
UNION ALL
SELECT 'role', name, '', '', toUInt8(0), {_LISTS} FROM system.roles WHERE name IN {roles_in}
UNION ALL
SELECT 'user_role', assumeNotNull(user_name), granted_role_name, '', toUInt8(0), {_LISTS}
FROM system.role_grants WHERE user_name IN {users_in}
UNION ALL
SELECT 'role_role', assumeNotNull(role_name), granted_role_name, '', toUInt8(0), {_LISTS}
FROM system.role_grants
WHERE role_name IN {roles_in} AND granted_role_name = {quote_literal(marker)}
UNION ALL
SELECT DISTINCT 'privilege', assumeNotNull(user_name), '', '', toUInt8(0), {_LISTS}
FROM system.grants WHERE user_name IN {users_in}"""  # noqa: S608 - every value is quoted


def _in(names: Collection[str]) -> str:
    """Return a list for IN, which can't be empty; a name can't be either."""
    return "('')" if not names else f"({literals(sorted(names))})"


def parse_observation(rows: Iterable[Sequence[Any]], marker: str) -> Actual:
    """Return what the rows of `observe_query` say."""
    seen: dict[str, list[Sequence[Any]]] = {}
    for row in rows:
        seen.setdefault(row[0], []).append(row)
    held: dict[str, set[str]] = {}
    for row in seen.get("user_role", ()):
        held.setdefault(row[1], set()).add(row[2])
    privileged = {row[1] for row in seen.get("privilege", ())}
    marked = {row[1] for row in seen.get("role_role", ())}
    users = {
        name: UserState(
            managed=marker in held.get(name, ()),
            roles=frozenset(held.get(name, ())) - {marker},
            login=_login(methods, params),
            door=Door(door),
            default_all=bool(default_all),
            has_privileges=name in privileged,
        )
        for _, name, _, door, default_all, methods, params in seen.get("user", ())
    }
    roles = {row[1]: RoleState(marked=row[1] in marked) for row in seen.get("role", ())}
    return Actual(users, roles)


def _login(methods: Sequence[str], params: Sequence[str]) -> Login:
    """Return the login as `Login.observable` has it; several methods at once equal none of ours."""
    found = [
        (_PARAMS.get(key, key), text)
        for each in params
        for key, value in json.loads(each).items()
        for text in (value if isinstance(value, list) else [str(value)])
        if text
    ]
    return Login("+".join(methods), tuple(sorted(found)))
