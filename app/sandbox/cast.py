"""The people and groups of the stories, as the identity provider knows them at this moment.

A cast is the company's side of a story: who works there, who is in which group, and what the
receiver called each of them (`id`, learnt from its answers). Playing a story changes it; it lives
as long as one identity provider's connection. From it follows the access that a target should hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Literal

import msgspec

State = Literal["open", "locked", "gone"]


class Person(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """One employee. `id` and `remote` are what the receiver last answered; None before that."""

    key: str
    user_name: str
    given_name: str
    family_name: str
    display_name: str
    department: str
    title: str
    okta_id: str
    entra_id: str
    active: bool = True
    deleted: bool = False
    id: str | None = None
    remote: object = None


class Group(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """One group of the identity provider. `first_name`: under which the role map knew it."""

    key: str
    display_name: str
    first_name: str = ""
    okta_id: str
    entra_id: str
    members: list[Person]
    deleted: bool = False
    id: str | None = None
    remote: object = None


Record = Person | Group


class Cast(msgspec.Struct, kw_only=True):
    """`people` are there from the first sync on, `joiners` come later; all are found by key."""

    people: dict[str, Person]
    joiners: dict[str, Person]
    groups: dict[str, Group]

    def everybody(self) -> Iterator[Person]:
        yield from self.people.values()
        yield from self.joiners.values()

    def scope(self) -> dict[str, object]:
        """Return what a story's placeholders can name before any step binds more."""
        return {"people": self.people, "joiners": self.joiners, "groups": self.groups}


class _GroupRow(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    key: str
    display_name: str
    okta_id: str
    entra_id: str
    members: list[str]


class _CastFile(msgspec.Struct, forbid_unknown_fields=True):
    people: list[Person]
    joiners: list[Person]
    groups: list[_GroupRow]


def load_cast() -> Cast:
    """Return a new cast: 200 people, 3 joiners and 12 groups that no receiver has seen yet."""
    text = resources.files("app.sandbox").joinpath("cast.json").read_bytes()
    rows = msgspec.json.decode(text, type=_CastFile)
    people = {person.key: person for person in rows.people}
    return Cast(
        people=people,
        joiners={person.key: person for person in rows.joiners},
        groups={
            row.key: Group(
                key=row.key,
                display_name=row.display_name,
                first_name=row.display_name,
                okta_id=row.okta_id,
                entra_id=row.entra_id,
                members=[people[key] for key in row.members],
            )
            for row in rows.groups
        },
    )


@dataclass(frozen=True, slots=True)
class RoleMap:
    """Which roles a tenant's groups give, in the words of its configuration.

    `groups`: roles by the display name that a group had when it was first seen.
    """

    default_roles: frozenset[str]
    groups: Mapping[str, frozenset[str]]

    @staticmethod
    def from_table(table: Mapping[str, object]) -> RoleMap:
        """Read the keys `default_roles` and `groups` of a `[tenants.NAME]` table."""
        rows = msgspec.convert(table, _RoleMapTable)
        return RoleMap(
            frozenset(rows.default_roles),
            {row.group: frozenset(row.roles) for row in rows.groups},
        )

    def of_groups(self, names: Sequence[str]) -> frozenset[str]:
        """Return the roles of somebody who is in the groups first seen as `names`."""
        return self.default_roles.union(*(self.groups.get(name, frozenset()) for name in names))


class _RoleMapGroup(msgspec.Struct):
    group: str
    roles: list[str]


class _RoleMapTable(msgspec.Struct):
    default_roles: list[str] = []
    groups: list[_RoleMapGroup] = []


def demo_role_map() -> RoleMap:
    """Return the role map of the sandbox's tenants (`demo.toml`)."""
    text = resources.files("app.sandbox").joinpath("demo.toml").read_bytes()
    return RoleMap.from_table(msgspec.toml.decode(text, type=dict[str, object]))


@dataclass(frozen=True, slots=True)
class Expected:
    """What a target should hold for one person: `roles` without the marker role."""

    state: State
    roles: frozenset[str]


def expected_access(cast: Cast, role_map: RoleMap) -> dict[str, Expected]:
    """Return what a target should hold, by `userName`, for everybody whom the receiver knows.

    Stated apart from the software that is tested: the groups that somebody is in give roles; who
    is not active keeps the groups and holds nothing; who was deleted is gone.
    """
    names: dict[str, list[str]] = {}
    for group in cast.groups.values():
        if group.id is not None and not group.deleted:
            for member in group.members:
                names.setdefault(member.key, []).append(group.first_name)
    access = {}
    for person in cast.everybody():
        if person.deleted:
            access[person.user_name] = Expected("gone", frozenset())
        elif person.id is not None and not person.active:
            access[person.user_name] = Expected("locked", frozenset())
        elif person.id is not None:
            access[person.user_name] = Expected(
                "open", role_map.of_groups(names.get(person.key, []))
            )
    return access
