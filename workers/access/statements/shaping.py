"""Reading what defined roles are on a target, everything that a definition is about.

`SHOW ACCESS` opens `system.row_policies`; `system.quota_limits` needs SELECT, so it is only read
where a definition has a quota (`needed_rights`).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any, get_args

from app.config.role import Limit
from workers.access.model import Actual, Interval, RoleDefinition, RowFilter, Setting, Shape
from workers.access.reach import Grant
from workers.access.statements.quoting import literals, quote_literal

_LIMITS: tuple[str, ...] = get_args(Limit)


def shapes_query(definitions: Collection[RoleDefinition], marker: str) -> str:
    """Return one query about these roles, of which there is at least one: rows are (kind, role,
    detail), and the detail is JSON but of a `parent`. Of a `written` row the second is an
    expression of a row filter and the third how the server writes it.
    """
    names = sorted(definition.name for definition in definitions)
    roles, ours = literals(names), literals(f"{marker}:{name}" for name in names)
    expressions = sorted({f.expression for d in definitions for f in d.row_filters})
    limits = ", ".join(f"max_{limit}" for limit in _LIMITS)
    cut = len(marker.encode()) + 2
    parts = [
        f"""\
SELECT 'grant', assumeNotNull(role_name), toJSONString((CAST(access_type, 'String'), access_object,
    database, table, column, is_partial_revoke, grant_option, is_wildcard))
FROM system.grants WHERE role_name IN ({roles})""",  # noqa: S608 - every value is quoted
        f"""\
SELECT 'setting', assumeNotNull(role_name),
    toJSONString((setting_name, value, min, max, CAST(writability, 'Nullable(String)'),
    inherit_profile))
FROM system.settings_profile_elements WHERE role_name IN ({roles})""",  # noqa: S608 - every value is quoted
        f"""\
SELECT 'parent', assumeNotNull(role_name), granted_role_name
FROM system.role_grants WHERE role_name IN ({roles})""",  # noqa: S608 - every value is quoted
        f"""\
SELECT 'filter', substring(short_name, {cut:d}),
    toJSONString((database, table, select_filter, is_restrictive, apply_to_list))
FROM system.row_policies WHERE short_name IN ({ours})""",  # noqa: S608 - every value is quoted
    ]
    if any(definition.quota for definition in definitions):
        parts.append(f"""\
SELECT 'quota', substring(quota_name, {cut:d}), toJSONString((duration, {limits}))
FROM system.quota_limits WHERE quota_name IN ({ours})""")  # noqa: S608 - every value is quoted
    parts += [
        f"SELECT 'written', {quote_literal(expression)},"
        f" coalesce(formatQuerySingleLineOrNull({quote_literal(f'SELECT ({expression})')}), '')"
        for expression in expressions
    ]
    return "\nUNION ALL ".join(parts)


def with_shapes(
    actual: Actual, definitions: Collection[RoleDefinition], rows: Iterable[tuple[str, str, str]]
) -> Actual:
    """Return `actual` with what the rows of `shapes_query` say of its roles."""
    seen: dict[tuple[str, str], list[Any]] = {}
    written: dict[str, str] = {}
    for kind, name, detail in rows:
        if kind == "written":
            written[name] = detail.removeprefix("SELECT ")
        else:
            value = detail if kind == "parent" else json.loads(detail)
            seen.setdefault((kind, name), []).append(value)
    roles = dict(actual.roles)
    for definition in definitions:
        if (state := roles.get(definition.name)) is not None:
            roles[definition.name] = replace(state, shape=_shape(definition.name, seen))
    return replace(actual, roles=roles, written={**actual.written, **written})


def _shape(role: str, seen: Mapping[tuple[str, str], list[Any]]) -> Shape:
    elements = seen.get(("setting", role), [])
    return Shape(
        grants=frozenset(_grant(*row) for row in seen.get(("grant", role), ())),
        settings=tuple(
            Setting(name, value, least, most, writability == "CONST")
            for name, value, least, most, writability, _ in elements
            if name is not None
        ),
        profiles=frozenset(profile for *_, profile in elements if profile is not None),
        parents=frozenset(seen.get(("parent", role), ())),
        row_filters=tuple(
            RowFilter(database, table, expression, bool(restrictive))
            for database, table, expression, restrictive, to in sorted(
                seen.get(("filter", role), ())
            )
            if to == [role]
        ),
        quota=tuple(
            Interval(
                int(duration),
                tuple(
                    (limit, float(most) if limit == "execution_time" else int(most))
                    for limit, most in sorted(zip(_LIMITS, limits, strict=True))
                    if most is not None
                ),
            )
            for duration, *limits in sorted(seen.get(("quota", role), ()), key=lambda row: row[0])
        ),
    )


def _grant(  # noqa: PLR0917 - the columns of a row
    access: str,
    only: str | None,
    database: str | None,
    table: str | None,
    column: str | None,
    is_hole: int,
    hand_on: int,
    is_wildcard: int,
) -> Grant:
    wild = bool(is_wildcard)
    return Grant(
        access,
        database or "",
        database_wildcard=database is None or (wild and table is None),
        table=table or "",
        table_wildcard=table is None or (wild and column is None),
        column=(column or "") + "*" * (wild and column is not None),
        is_hole=bool(is_hole),
        hand_on=bool(hand_on),
        only=only or "",
        only_wildcard=wild and bool(only),
    )
