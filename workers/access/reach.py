"""What a role really holds, and whether that is what its definition gives it: pure.

ClickHouse keeps grants in a form of its own: what a wider grant covers is not listed beside it, all
parts of a group show as the group, and a REVOKE inside a grant shows as a hole in it. So grants are
compared by what they reach, not by how they are written.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace

from app.config.privileges import Privilege

# The groups that a definition may give, or that cover what it gives, with their parts (26.9,
# `system.privileges`; a test compares them). Other groups hold what no definition gives.
GROUPS: dict[str, tuple[str, ...]] = {
    "SHOW": ("SHOW DATABASES", "SHOW TABLES", "SHOW COLUMNS", "SHOW DICTIONARIES"),
    "ALTER COLUMN": tuple(
        f"ALTER {verb} COLUMN"
        for verb in ("ADD", "MODIFY", "DROP", "COMMENT", "CLEAR", "RENAME", "MATERIALIZE")
    ),
    "ALTER INDEX": (
        "ALTER ORDER BY",
        "ALTER SAMPLE BY",
        *(f"ALTER {verb} INDEX" for verb in ("ADD", "DROP", "MATERIALIZE", "CLEAR")),
    ),
    "ALTER STATISTICS": tuple(
        f"ALTER {verb} STATISTICS" for verb in ("ADD", "DROP", "MODIFY", "MATERIALIZE")
    ),
    "ALTER PROJECTION": tuple(
        f"ALTER {verb} PROJECTION" for verb in ("ADD", "DROP", "MODIFY", "MATERIALIZE", "CLEAR")
    ),
    "ALTER CONSTRAINT": tuple(f"ALTER {verb} CONSTRAINT" for verb in ("ADD", "DROP", "MODIFY")),
    "ALTER TABLE": (
        "ALTER UPDATE",
        "ALTER DELETE",
        "ALTER COLUMN",
        "ALTER MODIFY COMMENT",
        "ALTER INDEX",
        "ALTER STATISTICS",
        "ALTER PROJECTION",
        "ALTER CONSTRAINT",
        "ALTER TTL",
        "ALTER MATERIALIZE TTL",
        "ALTER REWRITE PARTS",
        "ALTER SETTINGS",
        "ALTER MOVE PARTITION",
        "ALTER FETCH PARTITION",
        "ALTER FREEZE PARTITION",
        "ALTER UNLOCK SNAPSHOT",
        "ALTER EXECUTE",
    ),
}
_DATABASES_ONLY = "SHOW DATABASES"  # no part of SHOW on a single table
_WIDER = {
    "CREATE TEMPORARY TABLE": ("CREATE ARBITRARY TEMPORARY TABLE", "CREATE", "ALL"),
    **dict.fromkeys(("CREATE TABLE", "CREATE VIEW", "CREATE DATABASE"), ("CREATE", "ALL")),
    **{f"DROP {what}": ("DROP", "ALL") for what in ("TABLE", "VIEW", "DICTIONARY", "DATABASE")},
}


@dataclass(frozen=True, slots=True)
class Grant:
    """A row of `system.grants`. Patterns as in `Privilege`; `column` "" is the whole table.

    `is_hole`: a partial revoke, which takes this out of a wider grant. `hand_on`: WITH GRANT
    OPTION.
    `only`: the name of what the privilege is limited to where that is no table, such as users.
    """

    access: str
    database: str = ""
    database_wildcard: bool = True
    table: str = ""
    table_wildcard: bool = True
    column: str = ""
    is_hole: bool = False
    hand_on: bool = False
    only: str = ""
    only_wildcard: bool = False

    def covers(self, other: Grant) -> bool:
        """Whether it reaches everything that `other` reaches, privilege aside."""
        return (
            self.only == other.only
            and _covers(
                self.database, self.database_wildcard, other.database, other.database_wildcard
            )
            and _covers(self.table, self.table_wildcard, other.table, other.table_wildcard)
            and self.column in {"", other.column}
        )

    def __str__(self) -> str:
        what = f"{self.access}({self.column})" if self.column else self.access
        on = self.only + "*" * self.only_wildcard
        if not self.only:
            database = self.database + "*" * self.database_wildcard
            on = f"{database}.{self.table}{'*' * self.table_wildcard}"
        option = " WITH GRANT OPTION" if self.hand_on else ""
        return f"{'NOT ' if self.is_hole else ''}{what} ON {on}{option}"


def _covers(one: str, one_wild: bool, other: str, other_wild: bool) -> bool:
    return other.startswith(one) if one_wild else one == other and not other_wild


def grants_of(privilege: Privilege) -> Iterator[Grant]:
    """Yield what a privilege of a definition grants, a column each."""
    for access, columns in privilege.access:
        for column in columns or ("",):
            yield Grant(
                access,
                privilege.database,
                privilege.database_wildcard,
                privilege.table,
                privilege.table_wildcard,
                column,
            )


def parts(grant: Grant) -> frozenset[str]:
    """Return the single privileges in a grant."""
    found, waiting = set(), [grant.access]
    while waiting:
        access = waiting.pop()
        if access in GROUPS:
            waiting += GROUPS[access]
        else:
            found.add(access)
    is_of_a_database = grant.table_wildcard and not grant.table
    return frozenset(found if is_of_a_database else found - {_DATABASES_ONLY})


def _reaches(grant: Grant, part: str) -> bool:
    wider = ("ALTER", "ALL") if part.startswith("ALTER ") else _WIDER.get(part, ("ALL",))
    return part in parts(grant) or grant.access in wider


def is_held(privilege: Privilege, held: Collection[Grant]) -> bool:
    """Whether all of this privilege is in `held`, without a hole."""
    return all(
        _has(wanted, part, held) for wanted in grants_of(privilege) for part in parts(wanted)
    )


def _has(wanted: Grant, part: str, held: Collection[Grant]) -> bool:
    """The narrowest rule about a thing counts, and a hole in it is a lack."""
    about = [grant for grant in held if _reaches(grant, part)]
    around = [grant for grant in about if grant.covers(wanted)]
    if not around:
        return False
    narrowest = max(around, key=lambda g: sum(other.covers(g) for other in around))
    holes = (grant for grant in about if grant.is_hole and wanted.covers(grant))
    return not narrowest.is_hole and not any(holes)


def excess(held: Iterable[Grant], wanted: Iterable[Privilege]) -> Iterator[Grant]:
    """Yield what is held and not wanted: whole rows, or the parts of a group; and what is wanted
    but may be handed on, as a row with `hand_on`, which nothing of a definition may be.
    """
    given = [grant for privilege in wanted for grant in grants_of(privilege)]
    for grant in sorted(held, key=str):
        if grant.is_hole:
            continue
        its = parts(grant)
        strange = {
            part
            for part in its
            if not any(part in parts(one) and one.covers(grant) for one in given)
        }
        if strange == its:
            yield replace(grant, hand_on=False)
        else:
            yield from (replace(grant, access=one, hand_on=False) for one in sorted(strange))
            if grant.hand_on:
                yield grant


def granted(held: frozenset[Grant], privilege: Privilege) -> frozenset[Grant]:
    """Return what is held after a GRANT."""
    new = frozenset(grants_of(privilege))
    kept = {
        grant
        for grant in held
        if not (grant.is_hole and any(one.covers(grant) and _same(one, grant) for one in new))
    }
    return new | kept


def revoked(held: frozenset[Grant], gone: Iterable[Grant]) -> frozenset[Grant]:
    """Return what is held after a REVOKE of these; a wider grant gets a hole."""
    for taken in gone:
        if taken.hand_on:
            held = frozenset(
                replace(g, hand_on=False) if taken.covers(g) and _same(taken, g) else g
                for g in held
            )
            continue
        left: set[Grant] = set()
        for grant in held:
            if not (taken.covers(grant) and _same(taken, grant)):
                left.add(grant)
            elif not parts(grant) <= parts(taken):
                left |= {replace(grant, access=one) for one in parts(grant) - parts(taken)}
        if any(g.covers(taken) and _same(g, taken) and not g.is_hole for g in left):
            left.add(replace(taken, is_hole=True))
        held = frozenset(left)
    return held


def _same(one: Grant, other: Grant) -> bool:
    return bool(parts(one) & parts(other)) or one.access == other.access
