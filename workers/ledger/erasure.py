"""Taking a person's data out of the ledger: which rows, and what they become; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from workers.access.statements.quoting import quote_identifier, quote_literal


@dataclass(frozen=True, slots=True)
class Person:
    """Who is to be erased: resource ids, and every name that they have had."""

    tenant: str
    ids: tuple[str, ...]
    names: tuple[str, ...]


def find_ids(tenant: str, who: str) -> str:
    """Return a query for the resource ids of `who`: an id, a userName or a ClickHouse name."""
    of, name = f"tenant = {quote_literal(tenant)}", quote_literal(who)
    return (
        "SELECT DISTINCT id FROM (SELECT resource_id AS id FROM events"  # noqa: S608 - quoted
        f" WHERE {of} AND type IN ('user', 'agent')"
        f" AND (resource_id = {name} OR lowerUTF8(name) = lowerUTF8({name}))"
        f" UNION ALL SELECT resource FROM access WHERE {of} AND user = {name})"
        " WHERE id != ''"
    )


def find_names(tenant: str, ids: Sequence[str]) -> str:
    """Return a query for every name that these resources have had, here and on targets."""
    of, those = f"tenant = {quote_literal(tenant)}", _list(ids)
    return (
        "SELECT DISTINCT n FROM (SELECT name AS n FROM events"  # noqa: S608 - quoted
        f" WHERE {of} AND resource_id IN {those}"
        f" UNION ALL SELECT user FROM access WHERE {of} AND resource IN {those}"
        f" UNION ALL SELECT name FROM dead_letters WHERE {of} AND resource IN {those})"
        " WHERE n != '' AND NOT startsWith(n, 'erased-')"
    )


def count(person: Person) -> str:
    """Return a query for how many events and how many statements it is."""
    of, ids = f"tenant = {quote_literal(person.tenant)}", _list(person.ids)
    return (
        f"SELECT (SELECT count() FROM events FINAL WHERE {of} AND resource_id IN {ids}),"  # noqa: S608
        f" (SELECT count() FROM statements FINAL WHERE {of} AND {_about(person)})"
    )


def mutations(person: Person) -> list[str]:
    """Return what erases the person, each safe to repeat. Where rows are double, both change."""
    ids, names = f"IN {_list(person.ids)}", person.names
    erased = "concat('erased-', substring(resource, 1, 8))"
    holder = f"holder = cityHash64(target, {erased})"
    blank = "name = '', before = '', after = '', ip = '', agent = '', salt = '', erased = true"
    letter = f"name = {erased}, {_cleared(('error',), names)}"
    changes = [
        _update("events", blank, person.tenant, f"resource_id {ids}"),
        _update("access", f"user = {erased}, {holder}", person.tenant, f"resource {ids}"),
        _update("receipts", f"user = {erased}", person.tenant, f"resource {ids}"),
        _update("dead_letters", letter, person.tenant, f"resource {ids}"),
    ]
    if names:
        those = f"IN {_list(names)}"
        users = f"users = arrayMap(one -> if(one {those}, 'erased', one), users)"
        sent = f"{users}, {_cleared(('text', 'error'), names)}"
        drift = f"name = 'erased', {_cleared(('expected', 'actual'), names)}"
        action = f"subject = 'erased', {_cleared(('detail',), names)}"
        changes += [
            _update("statements", sent, person.tenant, _about(person)),
            _update("drift", drift, person.tenant, f"name {those}"),
            _update("admin_actions", action, person.tenant, f"subject {those}"),
        ]
    return changes


def _update(table: str, changes: str, tenant: str, condition: str) -> str:
    return (
        f"ALTER TABLE {table} UPDATE {changes}"
        f" WHERE tenant = {quote_literal(tenant)} AND {condition} SETTINGS mutations_sync = 2"
    )


def _about(person: Person) -> str:
    """Statements say whom they are about; where nobody was known to be behind a name, the name."""
    about = f"hasAny(resources, {_array(person.ids)})"
    if not person.names:
        return about
    return f"({about} OR (empty(resources) AND hasAny(users, {_array(person.names)})))"


def _cleared(columns: Iterable[str], names: Sequence[str]) -> str:
    """Return what takes these names out of texts, quoted as statements and errors quote them.

    Only whole names: `ana` in quotes is not a part of `hana`.
    """
    changes = []
    for column in columns:
        text = column
        for name in names:
            for quoted in (quote_identifier(name), quote_literal(name), f'"{name}"'):
                instead = quote_literal(f"{quoted[0]}erased{quoted[-1]}")
                text = f"replaceAll({text}, {quote_literal(quoted)}, {instead})"
        changes.append(f"{column} = {text}")
    return ", ".join(changes)


def _list(values: Iterable[str]) -> str:
    return f"({', '.join(map(quote_literal, values))})"


def _array(values: Iterable[str]) -> str:
    return f"[{', '.join(map(quote_literal, values))}]"
