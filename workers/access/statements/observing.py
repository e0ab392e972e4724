"""Reading a target: one query about users and roles, and its rows as values.

`SHOW ACCESS` opens `system.users` and `system.roles`; `system.role_grants` and `system.grants` each
need SELECT (`provisioner_grants`).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence

from workers.access.model import LOCAL, Actual, Door, Home, Login, Method, RoleState, UserState
from workers.access.statements.quoting import (
    FIRST_END,
    HELD_AT,
    HELD_WITHIN_S,
    literals,
    quote_literal,
)

# From the keys of `auth_params` to the parameters of a Login.
_PARAMS = {"common_names": "common_name", "subject_alt_names": "subject_alt_name"}

# Privileges with which a holder could give itself, or act with, any right of the server.
MANAGING = frozenset(
    {"ALL", "ACCESS MANAGEMENT", "ROLE ADMIN", "CREATE TOKEN", "ALLOW SQL SECURITY NONE"}
    | {"IMPERSONATE", "SET DEFINER"}
    | {
        f"{verb} {what}"
        for verb in ("CREATE", "ALTER", "DROP")
        for what in ("USER", "ROLE", "ROW POLICY", "MASKING POLICY", "SETTINGS PROFILE")
    }
)
PRIVILEGES_SHOWN = 20

Row = tuple[str, str, str]


def observe_query(
    names: Collection[str], roles: Collection[str], marker: str, *, is_old: bool = False
) -> str:
    """Return one query about these users and roles, and the users that share a role's name.

    Its rows are (kind, name, detail): of a `user` the detail is JSON, of a `user_role`,
    `user_admin` or `role_role` the granted role, of a `privilege` or `managing` some of what the
    user holds itself; roles that `manages` tells of are all of the target. Most of the cost is the
    query's analysis, so it computes little, and columns are few: rows are judged by
    `parse_observation`. `is_old`: without `system.users.valid_until`, which exists since 26.2, and
    `system.grants.access_object`; rows of `ends` say then when log-ins end (`parse_ends`).
    """
    ends, of = ("[]", "NULL") if is_old else ("valid_until", "access_object")
    users_in, roles_in = _in({*names, *roles}), _in({*roles, marker})
    managing = literals(sorted(MANAGING))
    return f"""\
SELECT 'user', name, toJSONString((
    host_ip, host_names, host_names_regexp, host_names_like,
    CAST(auth_type, 'Array(String)'), auth_params, CAST({ends}, 'Array(Int64)'),
    default_roles_all, default_roles_except, default_roles_list, default_database,
    toString(id), toUnixTimestamp(now())))
FROM system.users WHERE name IN {users_in}
UNION ALL SELECT 'role', name, '' FROM system.roles WHERE name IN {roles_in}
UNION ALL
SELECT multiIf(isNull(user_name), 'role_role', with_admin_option, 'user_admin', 'user_role'),
    coalesce(user_name, role_name, ''), granted_role_name
FROM system.role_grants WHERE user_name IN {users_in}
    OR (role_name IN {roles_in} AND granted_role_name = {quote_literal(marker)})
    OR (isNotNull(role_name) AND granted_role_name != {quote_literal(marker)})
UNION ALL
SELECT multiIf(isNull(user_name), 'manages',
        countIf(NOT is_partial_revoke AND CAST(access_type, 'String') IN ({managing})) > 0,
        'managing', 'privilege'),
    coalesce(user_name, role_name, ''),
    arrayStringConcat(groupUniqArray({PRIVILEGES_SHOWN:d})(concat(
        CAST(access_type, 'String'), ' ON ', coalesce(nullIf({of}, ''), database, '*'),
        '.', coalesce(table, '*'))), '\\n')
FROM system.grants WHERE user_name IN {users_in}
    OR (isNotNull(role_name) AND NOT is_partial_revoke
        AND CAST(access_type, 'String') IN ({managing}))
GROUP BY user_name, role_name
UNION ALL SELECT 'profile', assumeNotNull(user_name), assumeNotNull(inherit_profile)
FROM system.settings_profile_elements
WHERE user_name IN {users_in} AND isNotNull(inherit_profile)"""  # noqa: S608 - every value is quoted


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
    """Return what the rows of `observe_query` say, and those of `ends`, (name, JSON array)."""
    seen: dict[str, list[tuple[str, str]]] = {}
    for kind, name, detail in rows:
        seen.setdefault(kind, []).append((name, detail))
    admin = _by_name(seen.get("user_admin", ()))
    held = _by_name((*seen.get("user_role", ()), *seen.get("user_admin", ())))
    parents = _by_name(seen.get("role_role", ()))
    profiles = _by_name(seen.get("profile", ()))
    ends = dict(seen.get("ends", ()))
    owned = (*seen.get("privilege", ()), *seen.get("managing", ()))
    privileges = {name: tuple(sorted(text.split("\n"))) for name, text in owned}
    managers = {name for name, _ in seen.get("managing", ())}
    managing = _holders({name for name, _ in seen.get("manages", ())}, parents)
    users = {
        name: _user(
            detail,
            marker,
            ends.get(name),
            held=held.get(name, frozenset()),
            admin=admin.get(name, frozenset()),
            privileges=privileges.get(name, ()),
            profiles=profiles.get(name, frozenset()),
            manages_access=name in managers or bool(held.get(name, frozenset()) & managing),
        )
        for name, detail in seen.get("user", ())
    }
    roles = {
        name: RoleState(marker in parents.get(name, ()), name in managing)
        for name, _ in seen.get("role", ())
    }
    return Actual(users, roles)


def _by_name(pairs: Iterable[tuple[str, str]]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for name, value in pairs:
        found.setdefault(name, set()).add(value)
    return {name: frozenset(values) for name, values in found.items()}


def _holders(roles: set[str], parents: Mapping[str, frozenset[str]]) -> set[str]:
    """Return these roles and all that hold one of them, also through others; circles do no harm."""
    found = set(roles)
    while fresh := {role for role, its in parents.items() if role not in found and its & found}:
        found |= fresh
    return found


def _user(
    detail: str,
    marker: str,
    shown_ends: str | None,
    *,
    held: frozenset[str],
    admin: frozenset[str],
    privileges: tuple[str, ...],
    profiles: frozenset[str],
    manages_access: bool,
) -> UserState:
    told = json.loads(detail)
    ips, names, regexps, likes, methods, params, ends, default_all, but, listed, *rest = told
    database, entity, now = rest
    hosts = (
        *ips,
        *(one if one == LOCAL else f"name {one}" for one in names),
        *(f"regexp {one}" for one in regexps),
        *(f"like {one}" for one in likes),
    )
    ends = [int(end) for end in (ends if shown_ends is None else json.loads(shown_ends))]
    ends += [0] * (len(methods) - len(ends))
    door = _door(hosts, ends, int(now))
    is_open = door is Door.OPEN
    return UserState(
        managed=marker in held,
        roles=held - {marker},
        admin=admin - {marker},
        login=_login(
            methods,
            params,
            ends[0] if is_open and any(ends) else None,
            hosts if is_open and "::/0" not in hosts else (),
        ),
        door=door,
        default_all=bool(int(default_all)),
        dormant=frozenset(but) - {marker},
        listed=frozenset(listed) - {marker},
        manages_access=manages_access,
        entity=entity,
        privileges=privileges,
        home=Home(database, profiles),
    )


def _door(hosts: Sequence[str], ends: Sequence[int], now: int) -> Door:
    """`ends` has a method's VALID UNTIL each, 0 for none. The clock is the server's own."""
    if hosts and (not any(ends) or (len(set(ends)) == 1 and ends[0] >= FIRST_END)):
        return Door.OPEN
    if not hosts and ends and all(0 < end <= now for end in ends):
        is_held = all(abs(end - HELD_AT) <= HELD_WITHIN_S for end in ends)  # in any time zone
        return Door.HELD if is_held else Door.LOCKED
    return Door.AJAR


def _login(
    methods: Sequence[str], params: Sequence[str], until: int | None, hosts: Sequence[str]
) -> Login:
    """Return the login as `Login.observable` has it."""
    found = [
        Method(
            method,
            tuple(
                (_PARAMS.get(key, key), text)
                for key, value in json.loads(each).items()
                for text in (value if isinstance(value, list) else [str(value)])
                if text
            ),
        )
        for method, each in zip(methods, params, strict=True)
    ]
    return Login.of(found or [Method("")], until=until, hosts=hosts).observable
