"""From stored resources to what a client sees, reading members and groups only where asked."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from app.directory.directory import Committed, Directory
from app.directory.keys import Kind
from app.directory.record import Stored
from app.http.aside import aside
from app.http.progress import Lanes
from app.scim.applied import APPLIED_URN, applied
from app.scim.attribute import META, SCHEMAS, ResourceType
from app.scim.present import EVERYTHING, Selection, present

# What is read from beside the documents, since the other side of it is what changes.
_DERIVED = ("members", "groups")


class Source:
    """What answers about one kind of a tenant's resources are made of, whoever asks.

    `derived`: the attribute of `_DERIVED` that the kind has, if it has one.
    """

    __slots__ = (
        *("directory", "types", "kind", "lanes", "resource_type", "derived"),
        *("_applied", "_shows_applied"),
    )

    def __init__(
        self,
        directory: Directory,
        types: Mapping[Kind, ResourceType],
        kind: Kind,
        lanes: Lanes,
    ) -> None:
        self.directory, self.types, self.kind, self.lanes = directory, types, kind, lanes
        self.resource_type = types[kind]
        self.derived = next(filter(self.resource_type.attribute, _DERIVED), None)
        self._applied = self.resource_type.known_schema(APPLIED_URN)
        self._shows_applied = self._is_applied_in(EVERYTHING)

    def shows_applied(self, selection: Selection) -> bool:
        """Whether answers say how far targets are."""
        return self._shows_applied if selection is EVERYTHING else self._is_applied_in(selection)

    def _is_applied_in(self, selection: Selection) -> bool:
        attributes = () if self._applied is None else self._applied.attributes
        return any(selection.shows(APPLIED_URN, attribute) for attribute in attributes)


class Renderer:
    """`selection`: the attributes that answers have (RFC 7644 §3.9)."""

    __slots__ = ("_base_url", "_selection", "_shows_applied", "_source")

    def __init__(self, source: Source, base_url: str, selection: Selection) -> None:
        self._source, self._base_url, self._selection = source, base_url, selection
        self._shows_applied = source.shows_applied(selection)

    def location(self, resource_id: str) -> str:
        return self._location(self._source.kind, resource_id)

    def _location(self, kind: Kind, resource_id: str) -> str:
        return f"{self._base_url}{self._source.types[kind].endpoint}/{resource_id}"

    async def created(self, committed: Committed, document: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a POST. Nobody could put a new resource into a group yet."""
        if self._source.derived == "groups" and committed.seq and not self._shows_applied:
            return self._present(_stored(committed, document), {**document, "groups": []})
        return await self.written(committed, document)

    async def written(self, committed: Committed, document: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a write, as it was committed."""
        return (await self.stored([_stored(committed, document)]))[0]

    async def stored(self, stored: Sequence[Stored]) -> list[dict[str, Any]]:
        """Return resources as the request wants to see them.

        Of the lanes' state only what was asked for: it costs two reads for each target.
        """
        documents = (
            await self._derived(stored)
            if self._source.derived is not None and self._selection.wants(self._source.derived)
            else [s.document for s in stored]
        )
        if self._shows_applied:
            progress = await self._source.lanes.progress([s.id for s in stored])
            documents = [
                {
                    **d,
                    SCHEMAS.name: [*d[SCHEMAS.name], APPLIED_URN],
                    APPLIED_URN: applied(s.version, progress[s.id]),
                }
                for s, d in zip(stored, documents, strict=True)
            ]
        return [self._present(s, d) for s, d in zip(stored, documents, strict=True)]

    async def documents(
        self, stored: Sequence[Stored], names: Collection[str], deciding: frozenset[str] | None
    ) -> list[dict[str, Any]]:
        """Return documents as filters and sorting see them: with id, and with what is in `names`.

        `deciding`: the members that decide, None for all of them.
        """
        documents = (
            await self._derived(stored, deciding)
            if self._source.derived in names
            else [s.document for s in stored]
        )
        if META.name in names:
            return [self._present(s, d, EVERYTHING) for s, d in zip(stored, documents, strict=True)]
        return [{**d, "id": s.id} for s, d in zip(stored, documents, strict=True)]

    def _present(
        self, stored: Stored, document: Mapping[str, Any], selection: Selection | None = None
    ) -> dict[str, Any]:
        return present(
            self._source.resource_type,
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
        name = self._source.derived or ""
        if name == "groups":
            lists = await self._groups(ids)
        elif deciding is None:
            lists = await self._members(ids)
        else:
            found = await self._source.directory.members_among(ids, sorted(deciding))
            lists = {group: [{"value": m} for m in members] for group, members in found.items()}
        return [{**s.document, name: lists[s.id]} for s in stored]

    async def _groups(self, user_ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        groups_of = await self._source.directory.groups_of(user_ids)
        groups = await self._source.directory.get_many("group", _distinct(groups_of.values()))
        return {
            user: [
                {
                    "value": group,
                    "$ref": self._location("group", group),
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
        members_of = await self._source.directory.members(group_ids)
        ids = _distinct(members_of.values())
        kinds = await self._source.directory.kinds(ids)
        return await aside(
            len(ids),
            lambda: {
                group: [self._member(member, kinds.get(member)) for member in members]
                for group, members in members_of.items()
            },
        )

    def _member(self, member: str, kind: Kind | None) -> dict[str, Any]:
        if kind is None or kind not in self._source.types:
            return {"value": member}
        return {
            "value": member,
            "$ref": self._location(kind, member),
            "type": self._source.types[kind].name,
        }


def _distinct(lists: Iterable[Iterable[str]]) -> list[str]:
    return list(dict.fromkeys(one for several in lists for one in several))


def _stored(committed: Committed, document: dict[str, Any]) -> Stored:
    return Stored(
        id=committed.id,
        document=document,
        version=committed.version,
        document_version=committed.version,
        created_ms=committed.created_ms,
        modified_ms=committed.modified_ms,
    )
