"""Reading a target: one query about users and roles, and its rows as values.

`SHOW ACCESS` opens `system.users` and `system.roles`; `system.role_grants` and `system.grants` each
need SELECT (`provisioner_grants`).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence

from workers.access.model import Actual, Door, Login, RoleState, UserState
from workers.access.statements.quoting import (
    FIRST_END,
    HELD_AT,
    HELD_WITHIN_S,
    literals,
    quote_literal,
)

# From the keys of `auth_params` to the parameters of a Login.
_PARAMS = {"common_names": "common_name", "subject_alt_names": "subject_alt_name"}

Row = tuple[str, str, str]


def observe_query(names: Collection[str], roles: Collection[str], marker: str) -> str:
    """Return one query about these users and roles, and the users that share a role's name.

    Its rows are (kind, name, detail): of a `user` the detail is JSON, of a `user_role` or
    `role_role` the granted role. Most of the cost is the query's analysis, so it computes little,
    and columns are few: rows are judged by `parse_observation`. `system.users.valid_until` exists
    since 26.2.
    """
    users_in, roles_in = _in({*names, *roles}), _in({*roles, marker})
    return f"""\
SELECT 'user', name, toJSONString((
    arrayConcat(host_ip, host_names, host_names_regexp, host_names_like),
    CAST(auth_type, 'Array(String)'), auth_params, CAST(valid_until, 'Array(Int64)'),
    default_roles_all AND empty(default_roles_except), toUnixTimestamp(now())))
FROM system.users WHERE name IN {users_in}
UNION ALL SELECT 'role', name, '' FROM system.roles WHERE name IN {roles_in}
UNION ALL
SELECT if(isNull(user_name), 'role_role', 'user_role'), coalesce(user_name, role_name, ''),
    granted_role_name
FROM system.role_grants WHERE user_name IN {users_in}
    OR (role_name IN {roles_in} AND granted_role_name = {quote_literal(marker)})
UNION ALL SELECT DISTINCT 'privilege', assumeNotNull(user_name), ''
FROM system.grants WHERE user_name IN {users_in}"""  # noqa: S608 - every value is quoted


def _in(names: Collection[str]) -> str:
    """Return a list for IN, which can't be empty; a name can't be either."""
    return f"({literals(sorted(names))})" if names else "('')"


def managed_query(marker: str, after: str, count: int) -> str:
    """Return a query for the users that hold the marker, in the order of their names after
    `after`.
    """
    return (
        "SELECT DISTINCT assumeNotNull(user_name) AS name FROM system.role_grants"  # noqa: S608
        f" WHERE granted_role_name = {quote_literal(marker)} AND user_name > {quote_literal(after)}"
        f" ORDER BY name LIMIT {count:d}"
    )


def census_query(marker: str) -> str:
    """Return a query for how many users with the marker have a HOST to log in from, and how many
    roles beside it they all hold.
    """
    managed = (
        "(SELECT user_name FROM system.role_grants"  # noqa: S608
        f" WHERE granted_role_name = {quote_literal(marker)} AND user_name IS NOT NULL)"
    )
    hosts = "host_ip, host_names, host_names_regexp, host_names_like"
    return (
        f"SELECT (SELECT count() FROM system.users WHERE name IN {managed}"  # noqa: S608
        f" AND notEmpty(arrayConcat({hosts}))),"
        f" (SELECT count() FROM system.role_grants WHERE user_name IN {managed}"
        f" AND granted_role_name != {quote_literal(marker)})"
    )


def parse_observation(rows: Iterable[Row], marker: str) -> Actual:
    """Return what the rows of `observe_query` say."""
    seen: dict[str, list[tuple[str, str]]] = {}
    for kind, name, detail in rows:
        seen.setdefault(kind, []).append((name, detail))
    held: dict[str, set[str]] = {}
    for name, role in seen.get("user_role", ()):
        held.setdefault(name, set()).add(role)
    privileged = {name for name, _ in seen.get("privilege", ())}
    marked = {name for name, _ in seen.get("role_role", ())}
    users = {}
    for name, detail in seen.get("user", ()):
        hosts, methods, params, valid_until, default_all, now = json.loads(detail)
        ends = [int(end) for end in valid_until]
        door = _door(hosts, ends, int(now))
        until = ends[0] if door is Door.OPEN and any(ends) else None
        roles_held = frozenset(held.get(name, ()))
        users[name] = UserState(
            managed=marker in roles_held,
            roles=roles_held - {marker},
            login=_login(methods, params, until),
            door=door,
            default_all=bool(int(default_all)),
            has_privileges=name in privileged,
        )
    roles = {name: RoleState(marked=name in marked) for name, _ in seen.get("role", ())}
    return Actual(users, roles)


def _door(hosts: Sequence[str], ends: Sequence[int], now: int) -> Door:
    """`ends` has a method's VALID UNTIL each, 0 for none. The clock is the server's own."""
    if hosts and (not any(ends) or (len(set(ends)) == 1 and ends[0] >= FIRST_END)):
        return Door.OPEN
    if not hosts and ends and all(0 < end <= now for end in ends):
        is_held = all(abs(end - HELD_AT) <= HELD_WITHIN_S for end in ends)  # in any time zone
        return Door.HELD if is_held else Door.LOCKED
    return Door.AJAR


def _login(methods: Sequence[str], params: Sequence[str], until: int | None) -> Login:
    """Return the login as `Login.observable` has it; several methods at once equal none of ours."""
    found = [
        (_PARAMS.get(key, key), text)
        for each in params
        for key, value in json.loads(each).items()
        for text in (value if isinstance(value, list) else [str(value)])
        if text
    ]
    return Login("+".join(methods), tuple(sorted(found)), until)
