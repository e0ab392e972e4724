"""What a directory holds, in plain Python: the oracle of test_model.

It knows nothing of the product: a user is a dict, a group a name and a list of members. Each step
is a request and what it must do; where an identity provider's dialect has several ways to say the
same, the step's way is chosen by chance.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
PATCH_OP = "urn:ietf:params:scim:api:messages:2.0:PatchOp"

Document = dict[str, Any]
NAMES = ("givenName", "familyName", "formatted")
SIMPLE = ("displayName", "title", "nickName", "externalId", "locale", "userType")
WORDS = ("Ana", "Bo", "Zoë", "Żółć", "李", "O'Neil", 'say "hi"', "back\\slash", "a b", "x" * 200)


@dataclass(slots=True)
class World:
    """One client's resources as they must be. Ids are those that the service gave."""

    users: dict[str, Document] = field(default_factory=dict)
    groups: dict[str, Document] = field(default_factory=dict)

    def groups_of(self, member: str) -> set[str]:
        """Return the groups that have it as their own member."""
        return {group for group, held in self.groups.items() if member in held["members"]}

    def below(self, group: str) -> set[str]:
        """Return the groups that are in the group, at any depth, and itself."""
        found, rest = {group}, [group]
        while rest:
            inner = [m for m in self.groups[rest.pop()]["members"] if m in self.groups]
            rest += [m for m in inner if m not in found]
            found |= {*inner}
        return found

    def forget(self, gone: str) -> None:
        """Take what is deleted out of every group."""
        for held in self.groups.values():
            held["members"] = [member for member in held["members"] if member != gone]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A request, the statuses it may be answered with, and what a 2xx does to the world."""

    method: str
    path: str
    body: Any = None
    query: str = ""
    statuses: tuple[int, ...] = (200,)
    then: Callable[[World, str], None] = lambda _world, _id: None

    def __str__(self) -> str:
        return f"{self.method} {self.path}{self.query} {str(self.body)[:400]}"


@dataclass(slots=True)
class Storyteller:
    """Chooses the next step, from a seed alone. `prefix`: in every name, so clients don't meet."""

    chance: random.Random
    prefix: str
    world: World
    made: int = 0

    def next(self) -> Step:
        self.made += 1
        users, groups = list(self.world.users), list(self.world.groups)
        tells: list[Callable[[], Step]] = [self.create_user, self.create_group]
        if users:
            tells += [self.put_user, self.patch_user, self.patch_user, self.switch_user]
            tells += [self.take_name, self.refused_user, self.refused_user]
        if users and groups:
            tells += [self.members] * 6 + [self.put_group, self.rename_group, self.refused_group]
            tells += [self.circle]
        if len(users) > 5:
            tells += [self.delete_user]
        if len(groups) > 3:
            tells += [self.delete_group]
        return self.chance.choice(tells)()

    # --- users ---

    def create_user(self) -> Step:
        document = self._user()

        def then(world: World, created: str) -> None:
            world.users[created] = copy.deepcopy(document)

        body = {**document, "schemas": [USER], "id": None, "meta": {"resourceType": "User"}}
        return Step(method="POST", path="/Users", body=body, statuses=(201,), then=then)

    def put_user(self) -> Step:
        user, document = self._any_user(), self._user()
        document["userName"] = self.world.users[user]["userName"]

        def then(world: World, _: str) -> None:
            world.users[user] = copy.deepcopy(document)

        return Step(method="PUT", path=f"/Users/{user}", body=self._cased(document), then=then)

    def patch_user(self) -> Step:
        """Several changes in one PATCH, each said in one of the ways that providers have."""
        user = self._any_user()
        after = copy.deepcopy(self.world.users[user])
        operations = []
        for _ in range(self.chance.randint(1, 4)):
            change = self.chance.choice(
                (self._simple, self._named, self._emailed, self._departed, self._removed)
            )
            operations += change(after)

        def then(world: World, _: str) -> None:
            world.users[user] = after

        body = self._patch(operations)
        return Step(method="PATCH", path=f"/Users/{user}", body=body, then=then)

    def switch_user(self) -> Step:
        user, active = self._any_user(), self.chance.random() < 0.5
        said: Any = self.chance.choice((active, str(active), str(active).lower()))
        operation = self.chance.choice(
            (
                {"op": "replace", "path": "active", "value": said},
                {"op": "Replace", "value": {"active": said}},
                {"op": "add", "path": f"{USER}:active", "value": said},
            )
        )

        def then(world: World, _: str) -> None:
            world.users[user]["active"] = active

        body = self._patch([operation])
        return Step(method="PATCH", path=f"/Users/{user}", body=body, then=then)

    def delete_user(self) -> Step:
        user = self._any_user()

        def then(world: World, _: str) -> None:
            del world.users[user]
            world.forget(user)

        return Step(method="DELETE", path=f"/Users/{user}", statuses=(204,), then=then)

    # --- groups ---

    def create_group(self) -> Step:
        members = self._some_members([*self.world.groups])
        document = {"displayName": self._name("g"), "members": members}

        def then(world: World, created: str) -> None:
            world.groups[created] = copy.deepcopy(document)

        body = {**document, "schemas": [GROUP], "members": self._members(members)}
        return Step(method="POST", path="/Groups", body=body, statuses=(201,), then=then)

    def put_group(self) -> Step:
        group = self._any_group()
        members = self._some_members(self._older(group))
        name = self.world.groups[group]["displayName"]
        body: Document = {"schemas": [GROUP], "displayName": name}
        if members or self.chance.random() < 0.5:
            body["members"] = self._members(members)
        return self._group_step("PUT", group, members=members, body=body)

    def rename_group(self) -> Step:
        group, name = self._any_group(), self._name("renamed")
        operation = self.chance.choice(
            (
                {"op": "Replace", "path": "displayName", "value": name},
                {"op": "replace", "value": {"id": group, "displayName": name}},
                {"op": "add", "path": f"{GROUP}:displayName", "value": name},
            )
        )
        return self._group_step("PATCH", group, name=name, body=self._patch([operation]))

    def members(self) -> Step:
        """Members added, removed and replaced, in every dialect."""
        group = self._any_group()
        held = list(self.world.groups[group]["members"])
        operations: list[Document] = []
        for _ in range(self.chance.randint(1, 3)):
            some = self._some_members(self._older(group))
            match self.chance.randint(0, 6):
                case 0 | 1:
                    value = self._members(some)
                    one = value[0] if len(value) == 1 and self.chance.random() < 0.3 else value
                    operations += [{"op": self._op("add"), "path": "members", "value": one}]
                    held += [member for member in some if member not in held]
                case 2:
                    operations += [
                        {"op": self._op("add"), "value": {"members": self._members(some)}}
                    ]
                    held += [member for member in some if member not in held]
                case 3:
                    gone = self._leaving(held)
                    operations += [
                        {"op": self._op("remove"), "path": f'members[value eq "{member}"]'}
                        for member in gone
                    ]
                    held = [member for member in held if member not in gone]
                case 4:
                    gone = self._leaving(held)
                    value = self._members(gone)
                    if value:
                        operations += [{"op": "Remove", "path": "members", "value": value}]
                    held = [member for member in held if member not in gone]
                case 5:
                    value = self._members(some)
                    whole = {"op": self._op("replace"), "path": "members", "value": value}
                    bare = {"op": "replace", "value": {"members": value}}
                    operations += [self.chance.choice((whole, bare))]
                    held = some
                case _:
                    gone = self._leaving(held)[:1]
                    operations += [
                        {"op": "remove", "path": f'{GROUP}:members[value eq "{member}"]'}
                        for member in gone
                    ]
                    held = [member for member in held if member not in gone]
        if not operations:
            operations = [{"op": "add", "path": "members", "value": []}]
        return self._group_step("PATCH", group, members=held, body=self._patch(operations))

    def delete_group(self) -> Step:
        group = self._any_group()

        def then(world: World, _: str) -> None:
            del world.groups[group]
            world.forget(group)

        return Step(method="DELETE", path=f"/Groups/{group}", statuses=(204,), then=then)

    # --- what must be refused, and change nothing ---

    def take_name(self) -> Step:
        """A name that is taken, in another case: 409 whatever the verb."""
        taken = self.world.users[self._any_user()]["userName"].upper()
        return Step(
            method="POST",
            path="/Users",
            body={"schemas": [USER], "userName": taken},
            statuses=(409,),
        )

    def refused_user(self) -> Step:
        """A PATCH or PUT whose last part is wrong: nothing of it may have happened."""
        user = self._any_user()
        good = {"op": "replace", "path": "title", "value": "must not stay"}
        bad, status = self.chance.choice(
            (
                ({"op": "replace", "path": "emails[type eq", "value": "x"}, 400),
                ({"op": "replace", "path": "active", "value": "perhaps"}, 400),
                ({"op": "move", "path": "title", "value": "x"}, 400),
                ({"op": "remove", "path": "userName"}, 400),
                ({"op": "remove"}, 400),
                ({"op": "replace", "path": "id", "value": "x"}, 400),
                ({"op": "replace", "path": "noSuchThing", "value": "x"}, 400),
                ({"op": "replace", "path": 'emails[display eq "q"].value', "value": "x"}, 400),
                ({"op": "add", "path": "emails", "value": [{"value": 7}]}, 400),
                ({"op": "replace", "path": "userName", "value": ""}, 400),
            )
        )
        if self.chance.random() < 0.25:
            body: Any = {"schemas": [USER], "title": "must not stay", "active": True}
            return Step(method="PUT", path=f"/Users/{user}", body=body, statuses=(400,))
        body = self._patch([good, bad])
        return Step(method="PATCH", path=f"/Users/{user}", body=body, statuses=(status,))

    def refused_group(self) -> Step:
        group, user = self._any_group(), self._any_user()
        good = {"op": "add", "path": "members", "value": [{"value": user}]}
        bad = self.chance.choice(
            (
                {"op": "replace", "path": "displayName", "value": ""},
                {"op": "add", "path": "members", "value": [{"display": "nobody"}]},
                {"op": "remove", "path": 'members[display eq "x"]'},
                {"op": "replace", "path": f'members[value eq "{user}"].value', "value": "other"},
                {"op": "remove", "path": "displayName"},
            )
        )
        body = self._patch([good, bad])
        return Step(method="PATCH", path=f"/Groups/{group}", body=body, statuses=(400,))

    def circle(self) -> Step:
        """A group into one that it holds, or into itself."""
        outer = self._any_group()
        inner = self.chance.choice(sorted(self.world.below(outer)))
        add = {"op": "add", "path": "members", "value": self._members([outer])}
        body = self._patch([{"op": "add", "path": "externalId", "value": "no"}, add])
        return Step(method="PATCH", path=f"/Groups/{inner}", body=body, statuses=(400, 409))

    # --- parts ---

    def _simple(self, after: Document) -> list[Document]:
        name, value = self.chance.choice(SIMPLE), self.chance.choice(WORDS)
        after[name] = value
        op = self._op(self.chance.choice(("add", "replace")))
        path = self.chance.choice((name, name.upper(), f"{USER}:{name}"))
        return [
            self.chance.choice(
                ({"op": op, "path": path, "value": value}, {"op": op, "value": {name: value}})
            )
        ]

    def _named(self, after: Document) -> list[Document]:
        """Sub-attributes of `name`: by path, dotted without a path, or as an object."""
        part, value = self.chance.choice(NAMES), self.chance.choice(WORDS)
        after["name"] = {**after.get("name", {}), part: value}
        return [
            self.chance.choice(
                (
                    {"op": self._op("replace"), "path": f"name.{part}", "value": value},
                    {"op": self._op("add"), "path": "name", "value": {part: value}},
                    {"op": "replace", "value": {f"name.{part}": value}},
                    {"op": "replace", "value": {"name": {part: value}}},
                )
            )
        ]

    def _emailed(self, after: Document) -> list[Document]:
        """The address of a type, which is made where it is missing (Entra ID)."""
        kind = self.chance.choice(("work", "home"))
        value = f"{kind}{self.chance.randint(0, 9)}@x.example"
        emails = after.setdefault("emails", [])
        found = next((email for email in emails if email["type"] == kind), None)
        if found is None:
            emails.append({"value": value, "type": kind})
        else:
            found["value"] = value
        path = f'emails[type eq "{kind}"].value'
        return [{"op": self._op("replace"), "path": path, "value": value}]

    def _departed(self, after: Document) -> list[Document]:
        value = self.chance.choice(WORDS)
        after[ENTERPRISE] = {**after.get(ENTERPRISE, {}), "department": value}
        return [
            self.chance.choice(
                (
                    {"op": "Add", "path": f"{ENTERPRISE}:department", "value": value},
                    {"op": "replace", "value": {f"{ENTERPRISE}:department": value}},
                    {"op": "replace", "value": {ENTERPRISE: {"department": value}}},
                )
            )
        ]

    def _removed(self, after: Document) -> list[Document]:
        name = self.chance.choice((*SIMPLE, "emails", "name", ENTERPRISE))
        after.pop(name, None)
        return [{"op": self._op("remove"), "path": name}]

    def _user(self) -> Document:
        chance = self.chance
        document: Document = {"userName": self._name("u"), "active": chance.random() < 0.8}
        for name in chance.sample(SIMPLE, chance.randint(0, 4)):
            document[name] = chance.choice(WORDS)
        if chance.random() < 0.5:
            document["name"] = {part: chance.choice(WORDS) for part in chance.sample(NAMES, 2)}
        if chance.random() < 0.5:
            document["emails"] = [{"value": "a@x.example", "type": "work", "primary": True}]
        if chance.random() < 0.3:
            document[ENTERPRISE] = {"department": chance.choice(WORDS), "employeeNumber": "7"}
        return document

    def _group_step(
        self,
        method: str,
        group: str,
        *,
        body: Any,
        name: str | None = None,
        members: list[str] | None = None,
    ) -> Step:
        changes = {"displayName": name, "members": members}

        def then(world: World, _: str) -> None:
            world.groups[group] |= {k: copy.copy(v) for k, v in changes.items() if v is not None}

        return Step(
            method=method, path=f"/Groups/{group}", body=body, statuses=(200, 204), then=then
        )

    def _patch(self, operations: list[Document]) -> Document:
        body = {"schemas": [PATCH_OP], "Operations": operations}
        if self.chance.random() < 0.1:
            del body["schemas"]
        return body

    def _members(self, users: list[str]) -> list[Any]:
        """Members as Okta, Entra ID, Keycloak and others write them."""
        return [
            self.chance.choice(
                (
                    {"value": user},
                    {"value": user, "display": None},
                    {"$ref": None, "value": user},
                    {"value": user, "$ref": f"Users/{user}"},
                )
            )
            for user in users
        ]

    def _cased(self, document: Document) -> Document:
        """The same with names in another case, now and then."""
        if self.chance.random() < 0.7:
            return {"schemas": [USER], **document}
        return {"Schemas": [USER], **{n if ":" in n else n.upper(): v for n, v in document.items()}}

    def _leaving(self, held: list[str]) -> list[str]:
        return self.chance.sample(held, min(len(held), self.chance.randint(0, 3)))

    def _some_members(self, groups: list[str]) -> list[str]:
        """Return some users and, now and then, one of `groups`."""
        users = list(self.world.users)
        members = self.chance.sample(users, min(len(users), self.chance.randint(0, 6)))
        if groups and self.chance.random() < 0.3:
            members.append(self.chance.choice(groups))
        return members

    def _older(self, group: str) -> list[str]:
        """Return the groups that came before: only these go into a group, so there is no circle."""
        groups = [*self.world.groups]
        return groups[: groups.index(group)]

    def _op(self, op: str) -> str:
        return self.chance.choice((op, op, op.capitalize(), op.upper()))

    def _name(self, kind: str) -> str:
        return f"{self.prefix}-{kind}-{self.made}-{self.chance.choice(('', 'ä', '李 x'))}"

    def _any_user(self) -> str:
        return self.chance.choice(list(self.world.users))

    def _any_group(self) -> str:
        return self.chance.choice(list(self.world.groups))


def plain(resource: Mapping[str, Any]) -> Document:
    """Return what a client wrote of a resource: without what the service says by itself."""
    return {k: v for k, v in resource.items() if k not in {"schemas", "id", "meta", "groups"}}
