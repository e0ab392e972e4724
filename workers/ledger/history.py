"""A tenant's directory as its events leave it; pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from workers.ledger.chain import LedgerEvent

_LIKE = "like"  # alone: by the name that the event gives; with a name behind it: by that one


class _External(msgspec.Struct):
    external_id: str = msgspec.field(name="externalId", default="")


_external = msgspec.json.Decoder(_External).decode


@dataclass(slots=True)
class Resource:
    """A resource with what its header says. `ordered`: the seq of its creation.

    `document` "": its events are from before there was a ledger. `members`: seq since when, by id.
    """

    kind: str
    id: str
    name: str
    created_ms: int
    ordered: int
    version: int = 0
    document_version: int = 0
    modified_ms: int = 0
    document: str = ""
    members: dict[str, int] = field(default_factory=dict)

    @property
    def external_id(self) -> str:
        return _external(self.document).external_id


@dataclass(slots=True)
class History:
    """What the events so far, in their order, have made. `added_ms`: when each seq happened that
    somebody is a member since; of the members of a stated group it is not known. `links`: group id
    by key of the role map; `likes`: the name that a group gives something for, by its id.
    """

    seq: int = 0
    hash: str = ""
    resources: dict[str, Resource] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    likes: dict[str, str] = field(default_factory=dict)
    added_ms: dict[int, int] = field(default_factory=dict)

    def apply(self, events: Iterable[LedgerEvent]) -> None:
        for event in events:
            self._apply(event)
            self.seq, self.hash = event.seq, event.hash

    @property
    def incomplete(self) -> list[str]:
        """The ids of resources whose documents the ledger does not have."""
        return [i for i, resource in self.resources.items() if not resource.document]

    def ordered(self) -> list[Resource]:
        return sorted(self.resources.values(), key=lambda resource: resource.ordered)

    def _apply(self, event: LedgerEvent) -> None:
        if event.op == "deleted":
            self._delete(event)
            return
        resource = self.resources.get(event.resource_id)
        if resource is None or event.op == "created":
            resource = Resource(
                kind=event.type,
                id=event.resource_id,
                name=event.name,
                created_ms=event.created_ms or event.at_ms,
                ordered=event.ordered or event.seq,
            )
            self.resources[event.resource_id] = resource
        if event.op == "stated":
            self._state(resource, event)
            return
        resource.version, resource.modified_ms = event.seq, event.at_ms
        if event.after:
            resource.document_version, resource.document = event.seq, event.after
            resource.name = event.name
        for member in event.removed:
            resource.members.pop(member, None)
        if event.added:
            resource.members |= dict.fromkeys(event.added, event.seq)
            self.added_ms[event.seq] = event.at_ms
        self._link(event)

    def _link(self, event: LedgerEvent) -> None:
        for link in event.links:
            if link == _LIKE:
                self.likes.setdefault(event.resource_id, event.name)
            elif link.startswith(f"{_LIKE}:"):
                self.likes[event.resource_id] = link.removeprefix(f"{_LIKE}:")
            else:
                self.links[link] = event.resource_id

    def _state(self, resource: Resource, event: LedgerEvent) -> None:
        resource.name, resource.document = event.name, event.after
        resource.created_ms, resource.ordered = event.created_ms, event.ordered
        resource.version, resource.modified_ms = event.version, event.modified_ms
        resource.document_version = event.document_version
        resource.members = dict(zip(event.added, event.scores, strict=True))
        self._link(event)

    def _delete(self, event: LedgerEvent) -> None:
        self.resources.pop(event.resource_id, None)
        for group in event.groups:
            if (resource := self.resources.get(group)) is not None:
                resource.members.pop(event.resource_id, None)
                resource.version, resource.modified_ms = event.seq, event.at_ms
        if event.type == "group":
            self.links = {k: i for k, i in self.links.items() if i != event.resource_id}
            self.likes.pop(event.resource_id, None)
