"""From stored resources to what a client sees, reading members and groups only where asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from app.directory.directory import Committed, Directory
from app.directory.keys import Kind
from app.directory.record import Stored
from app.http.members import deciding_members
from app.scim.attribute import META
from app.scim.filter import Filter, attributes_of
from app.scim.present import EVERYTHING, Selection, parse_selection, present
from app.scim.schema import ResourceType

_ENDPOINT: dict[Kind, str] = {"user": "Users", "group": "Groups"}
_TYPE: dict[Kind, str] = {"user": "User", "group": "Group"}
# What is read from beside the documents, since the other side of it is what changes.
_DERIVED: dict[Kind, str] = {"user": "groups", "group": "members"}


class Renderer:
    """`query`: the request's, for `attributes` and `excludedAttributes` (RFC 7644 §3.9)."""

    def __init__(
        self,
        directory: Directory,
        kind: Kind,
        resource_type: ResourceType,
        base_url: str,
        query: Mapping[str, str],
    ) -> None:
        self._directory = directory
        self._kind = kind
        self._resource_type = resource_type
        self._base_url = base_url
        self._selection = parse_selection(
            resource_type, query.get("attributes"), query.get("excludedAttributes")
        )

    def location(self, resource_id: str) -> str:
        return f"{self._base_url}/{_ENDPOINT[self._kind]}/{resource_id}"

    async def created(self, committed: Committed, document: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a POST. Nobody could put a new user into a group yet."""
        if self._kind == "user" and committed.seq is not None:
            return self._present(_stored(committed, document), {**document, "groups": []})
        return await self.written(committed, document)

    async def written(self, committed: Committed, document: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a write, as it was committed."""
        return (await self.stored([_stored(committed, document)]))[0]

    async def stored(self, stored: Sequence[Stored]) -> list[dict[str, Any]]:
        """Return resources as the request wants to see them."""
        documents = (
            await self._derived(stored)
            if self._selection.wants(_DERIVED[self._kind])
            else [s.document for s in stored]
        )
        return [self._present(s, d) for s, d in zip(stored, documents, strict=True)]

    async def documents(self, stored: Sequence[Stored], filter_: Filter) -> list[dict[str, Any]]:
        """Return documents as a filter sees them: with id, and what else it names."""
        named = attributes_of(filter_)
        documents = (
            await self._derived(stored, deciding_members(filter_))
            if _DERIVED[self._kind] in named
            else [s.document for s in stored]
        )
        if META.name in named:
            return [self._present(s, d, EVERYTHING) for s, d in zip(stored, documents, strict=True)]
        return [{**d, "id": s.id} for s, d in zip(stored, documents, strict=True)]

    def _present(
        self, stored: Stored, document: Mapping[str, Any], selection: Selection | None = None
    ) -> dict[str, Any]:
        return present(
            self._resource_type,
            document,
            resource_id=stored.id,
            location=self.location(stored.id),
            version=stored.version,
            created_ms=stored.created_ms,
            last_modified_ms=stored.modified_ms,
            attributes=self._selection if selection is None else selection,
        )

    async def _derived(
        self, stored: Sequence[Stored], deciding: frozenset[str] | None = None
    ) -> list[dict[str, Any]]:
        """Return documents with members or groups; of the members only those in `deciding`."""
        ids = [s.id for s in stored]
        if self._kind == "user":
            lists = await self._groups(ids)
        elif deciding is None:
            lists = await self._members(ids)
        else:
            found = await self._directory.members_among(ids, sorted(deciding))
            lists = {group: [{"value": m} for m in members] for group, members in found.items()}
        return [{**s.document, _DERIVED[self._kind]: lists[s.id]} for s in stored]

    async def _groups(self, user_ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        groups_of = await self._directory.groups_of(user_ids)
        groups = await self._directory.get_many("group", _distinct(groups_of.values()))
        return {
            user: [
                {
                    "value": group,
                    "$ref": f"{self._base_url}/Groups/{group}",
                    "display": groups[group].document["displayName"],
                    "type": "direct",
                }
                for group in sorted(its_groups)
                if group in groups
            ]
            for user, its_groups in groups_of.items()
        }

    async def _members(self, group_ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        """Return each group's members; one that we do not know yet is shown as it was sent."""
        members_of = await self._directory.members(group_ids)
        kinds = await self._directory.kinds(_distinct(members_of.values()))
        return {
            group: [self._member(member, kinds.get(member)) for member in members]
            for group, members in members_of.items()
        }

    def _member(self, member: str, kind: Kind | None) -> dict[str, Any]:
        if kind is None:
            return {"value": member}
        return {
            "value": member,
            "$ref": f"{self._base_url}/{_ENDPOINT[kind]}/{member}",
            "type": _TYPE[kind],
        }


def _distinct(lists: Iterable[Iterable[str]]) -> list[str]:
    return sorted({one for several in lists for one in several})


def _stored(committed: Committed, document: dict[str, Any]) -> Stored:
    return Stored(
        id=committed.id,
        document=document,
        version=committed.version,
        document_version=committed.version,
        created_ms=committed.created_ms,
        modified_ms=committed.modified_ms,
    )
