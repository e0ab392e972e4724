"""One kind of a tenant's resources, as one caller may use it: what every operation stands on."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

from app.directory.directory import NO_SECRET, Committed
from app.directory.keys import Kind
from app.directory.record import Stored
from app.errors import InvalidValue, NotFound
from app.http.receiver import Caller, Receiver
from app.http.rendering import Renderer
from app.scim.present import entity_tag, parse_selection
from app.scim.quirks import Quirk
from app.scim.text import fold


class Endpoint:
    """Raises NotFound if the tenant has no resources of this kind."""

    def __init__(self, receiver: Receiver, caller: Caller, kind: Kind) -> None:
        self.receiver, self.caller, self.kind = receiver, caller, kind
        self.tenant = caller.tenant
        if kind not in self.tenant.types:
            raise NotFound("no such endpoint or resource")
        self.resource_type = self.tenant.types[kind]
        self.directory = self.tenant.directory
        self.settings = caller.settings.limits
        self.limits = self.tenant.limits

    def renderer(self, attributes: str | None = None, excluded: str | None = None) -> Renderer:
        """Return what makes answers with these attributes. Raises InvalidValue."""
        selection = parse_selection(self.resource_type, attributes, excluded)
        return Renderer(self.tenant.sources[self.kind], self.caller.base_url, selection)

    async def stored(self, resource_id: str) -> Stored:
        found = await self.directory.get(self.kind, resource_id)
        if found is None:
            raise NotFound(f"no {self.kind} has this id")
        return found

    def check_domain(self, before: dict[str, Any] | None, after: dict[str, Any]) -> None:
        """Refuse a user of a foreign domain, if the tenant has named its own.

        Nobody is refused who has no access, and no change that leaves an active user's name: access
        must not outlive a list of domains that has become shorter.
        """
        domains = self.tenant.verified_domains
        if self.kind != "user" or not domains or after.get("active") is False:
            return
        name = after["userName"]
        if before and before.get("active") is not False and before["userName"] == name:
            return
        if fold(name.rpartition("@")[2]) not in domains:
            raise InvalidValue("userName: its domain is not one of this tenant's")

    async def secret(self, password: str | None) -> str | None:
        """Return what the directory keeps of a password, None for no change of it."""
        hasher = self.tenant.hasher
        if password is None or hasher is None:
            return None
        if hasher.is_slow:
            return await asyncio.to_thread(hasher.hashed, password) or NO_SECRET
        return hasher.hashed(password) or NO_SECRET

    def count_quirks(self, quirks: Collection[Quirk]) -> None:
        self.receiver.quirks.note(self.tenant.name, quirks)

    def count_ignored(self, ignored: tuple[str, ...]) -> None:
        if ignored:
            metrics = self.receiver.metrics
            tenant = metrics.tenant(self.tenant.name)
            metrics.ignored_attributes.labels(tenant, self.resource_type.name).inc(len(ignored))

    def role_keys(self, document: dict[str, Any]) -> tuple[str, ...]:
        """Return the keys of the role map that a group of this name and externalId has."""
        if self.kind != "group":
            return ()
        return self.tenant.role_map.keys_for(document["displayName"], document.get("externalId"))

    async def headers(self, committed: Committed) -> dict[str, str]:
        """Wake the lanes and return the headers of a write's answer."""
        if committed.seq is not None:
            metrics = self.receiver.metrics
            metrics.events.add(metrics.tenant(self.tenant.name))
            self.receiver.waker.wake(self.tenant.name, committed.wake)
        seq = committed.seq if committed.seq is not None else await self.directory.last_seq()
        return {"ETag": entity_tag(committed.version), "X-Event-Seq": str(seq)}
