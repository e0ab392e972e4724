"""Queries: filtered, sorted, paged by index or by cursor (RFC 7644 §3.4.2, RFC 9865).

Look-ups by an index and pages by cursor cost the same at any size of the directory. Every other
query looks through the resources in bounded steps, each a moment of Redis and of this process, for
as long as the settings allow; then it is refused with what to do instead.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from app.directory.record import Stored
from app.errors import InvalidFilter, InvalidValue, TooMany
from app.http.cursors import Place, Sealer
from app.http.endpoint import Endpoint
from app.http.members import deciding_members, member_anchor
from app.scim.applied import APPLIED_URN
from app.scim.filter import (
    Filter,
    anchors,
    attributes_of,
    matches,
    parse_filter,
    parse_filter_of_several,
    schemas_of_filter,
)
from app.scim.messages import list_response
from app.scim.paths import AttributePath, shown
from app.scim.query import Query
from app.scim.quirks import Quirk
from app.scim.sorting import in_order, parse_sort, sort_value

_STEP = 500
_NO_NAMES: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Found:
    """A match: the number of its type in the query, its seq of creation, what it is sorted by."""

    type: int
    seq: int
    stored: Stored
    value: Any = None


@dataclass(frozen=True, slots=True)
class _Source:
    """One type of resources in a query."""

    number: int
    endpoint: Endpoint
    filter: Filter | None
    sort: AttributePath | None


async def search(endpoints: Sequence[Endpoint], query: Query) -> dict[str, Any]:
    """Return the list response. Raises InvalidFilter, InvalidValue, TooMany, and for cursors."""
    searching = _Search(endpoints, query)
    if query.cursor is None:
        return await searching.by_index()
    return await searching.by_cursor(query.cursor)


class _Search:
    def __init__(self, endpoints: Sequence[Endpoint], query: Query) -> None:
        self._query = query
        self._endpoints = endpoints
        self._renderers = [e.renderer(query.attributes, query.excluded) for e in endpoints]
        filters = _filters(endpoints, query.filter)
        sorts = _sorts(endpoints, query.sort_by)
        self._sources = [
            _Source(number, endpoint, filter_, sort)
            for number, (endpoint, filter_, sort) in enumerate(
                zip(endpoints, filters, sorts, strict=True)
            )
        ]
        first = endpoints[0]
        self._directory, self._clock = first.directory, first.receiver.clock
        self._budget_s = first.settings.query_seconds
        self._until = self._clock.monotonic() + self._budget_s
        self._cursor_s = first.settings.cursor_seconds

    async def by_index(self) -> dict[str, Any]:
        start, count = self._query.page.start_index - 1, self._query.page.count
        if self._query.filter is None and self._query.sort_by is None:
            total, found = await self._by_position(start, count)
        else:
            total, found = await self._window(start, count)
        resources = await self._rendered(found)
        return list_response(resources, total, start + 1, len(resources))

    async def by_cursor(self, cursor: str) -> dict[str, Any]:
        """Return a page and, if there is more, the cursor of the next one.

        `totalResults` is told where it costs nothing: without a filter, and in a sorted list.
        """
        sealer = await self._sealer()
        now_ms = self._clock.now_ms()
        place = sealer.open(cursor, now_ms) if cursor else Place()
        count, total = self._query.page.count, None
        following: Place | None = None
        if self._query.sort_by is not None:
            total, found = await self._window(place.offset, count)
            if 0 < count < total - place.offset:
                following = Place(offset=place.offset + count)
        else:
            found, more = await self._after(place, count)
            if self._query.filter is None:  # others may write between the two reads
                total = max(await self._count(), len(found))
            if more and found:
                following = Place(type=found[-1].type, seq=found[-1].seq)
        resources = await self._rendered(found)
        answer = list_response(resources, total, None, len(resources))
        if following is not None:
            answer["nextCursor"] = sealer.seal(following, now_ms)
        return answer

    async def _sealer(self) -> Sealer:
        query = self._query
        kinds = ",".join(endpoint.kind for endpoint in self._endpoints)
        told = repr((kinds, query.filter, query.sort_by, query.descending))
        return Sealer(await self._directory.cursor_key(), told, self._cursor_s)

    async def _count(self) -> int:
        return sum([await self._directory.count(e.kind) for e in self._endpoints])

    async def _by_position(self, start: int, count: int) -> tuple[int, list[Found]]:
        total, found = 0, list[Found]()
        for source in self._sources:
            kind = source.endpoint.kind
            held = await self._directory.count(kind)
            first = max(0, start - total)
            ids = await self._directory.page(kind, first, min(count - len(found), held - first))
            stored = await self._directory.get_many(kind, ids)
            found += [Found(source.number, 0, one) for one in stored.values()]
            total += max(held, first + len(ids) if ids else 0)  # others may write between the reads
        return total, found

    async def _window(self, start: int, count: int) -> tuple[int, list[Found]]:
        """Return how many match, and those from the 0-based `start` on; sorted, if asked for."""
        if self._query.sort_by is not None:
            return await self._sorted_window(start, count)
        total = 0
        kept: list[Found] = []
        async for chunk in self._matching(Place()):
            first = total
            total += len(chunk)
            kept += chunk[max(0, start - first) : max(0, start + count - first)]
        return total, kept

    async def _sorted_window(self, start: int, count: int) -> tuple[int, list[Found]]:
        """Sort ids, since documents of many matches would take much memory; read those of a page.

        Whoever was deleted meanwhile is missing from the page.
        """
        keys = [
            (one.value, (one.type, one.stored.id))
            async for chunk in self._matching(Place())
            for one in chunk
        ]
        page = in_order(keys, descending=self._query.descending)[start : start + count]
        stored: dict[str, Stored] = {}
        for source in self._sources:
            ids = [i for number, i in page if number == source.number]
            stored |= await self._directory.get_many(source.endpoint.kind, ids)
        return len(keys), [Found(number, 0, stored[i]) for number, i in page if i in stored]

    async def _after(self, place: Place, count: int) -> tuple[list[Found], bool]:
        """Return `count` matches after the place, and whether there are more.

        A page may be shorter when the time is over: the next one goes on where it ends.
        """
        if count == 0:
            return [], False
        found: list[Found] = []
        try:
            async for chunk in self._matching(place, count + 1):
                found += chunk
                if len(found) > count:
                    return found[:count], True
        except TooMany:
            if found:
                return found, True
            raise
        return found, False

    async def _matching(self, place: Place, wanted: int = _STEP) -> AsyncIterator[list[Found]]:
        for source in self._sources[place.type :]:
            after = place.seq if source.number == place.type else 0
            async for rows in self._rows(source, after, wanted):
                yield await self._those_that_match(source, rows)
                if self._clock.monotonic() > self._until:
                    raise TooMany(
                        f"the query took longer than {self._budget_s:g} s: look up by `eq` on id,"
                        f" {source.endpoint.resource_type.naming.name} or externalId, or read the"
                        " list in pages by cursor"
                    )

    async def _rows(
        self, source: _Source, after: int, wanted: int
    ) -> AsyncIterator[list[tuple[str, int]]]:
        """Yield ids among which every match is, with their seqs, in the order of creation."""
        endpoint, kind = source.endpoint, source.endpoint.kind
        candidates = await _candidates(endpoint, source.filter)
        if candidates is not None:
            rows = await self._directory.created(kind, candidates)
            rows = [row for row in rows if row[1] > after]
            for start in range(0, len(rows), _STEP):
                yield rows[start : start + _STEP]
            return
        step = min(_STEP, wanted) if source.filter is None else _STEP
        while rows := await self._directory.created_after(kind, after, step):
            after = rows[-1][1]
            yield rows

    async def _those_that_match(
        self, source: _Source, rows: Sequence[tuple[str, int]]
    ) -> list[Found]:
        filter_, sort = source.filter, source.sort
        by_id = await self._directory.get_many(source.endpoint.kind, [i for i, _ in rows])
        stored = list(by_id.values())
        names = _NO_NAMES if filter_ is None else attributes_of(filter_)
        deciding = None if filter_ is None else deciding_members(filter_)
        if sort is not None:
            names |= {sort.attribute.name}
            deciding = None if sort.attribute.separate else deciding
        renderer = self._renderers[source.number]
        documents = await renderer.documents(stored, names, deciding)
        seqs = dict(rows)
        return [
            Found(source.number, seqs[one.id], one, sort_value(sort, document))
            for one, document in zip(stored, documents, strict=True)
            if filter_ is None or matches(filter_, document)
        ]

    async def _rendered(self, found: Sequence[Found]) -> list[dict[str, Any]]:
        """Return what the client sees, each type's resources read together."""
        shown_as: dict[str, dict[str, Any]] = {}
        for source, renderer in zip(self._sources, self._renderers, strict=True):
            of_type = [one.stored for one in found if one.type == source.number]
            bodies = await renderer.stored(of_type) if of_type else []
            shown_as |= {s.id: body for s, body in zip(of_type, bodies, strict=True)}
        return [shown_as[one.stored.id] for one in found]


def _filters(endpoints: Sequence[Endpoint], text: str | None) -> list[Filter | None]:
    if text is None:
        return [None] * len(endpoints)
    if len(endpoints) == 1:
        endpoint, quirks = endpoints[0], set[Quirk]()
        limits = endpoint.limits
        only = parse_filter(endpoint.resource_type, text, limits=limits, quirks=quirks)
        endpoint.count_quirks(quirks)
        return [_filterable(only)]
    of_all = set[Quirk]()
    read = [
        parse_filter_of_several(e.resource_type, text, limits=e.limits, quirks=of_all)
        for e in endpoints
    ]
    if not any(known for _, known in read):
        raise InvalidFilter("filter: no resource type has all of these attributes")
    endpoints[0].count_quirks(of_all)
    return [_filterable(filter_) for filter_, _ in read]


def _filterable(filter_: Filter) -> Filter:
    if APPLIED_URN in schemas_of_filter(filter_):
        raise InvalidFilter("filter: what is applied on targets can't be searched for")
    return filter_


def _sorts(endpoints: Sequence[Endpoint], text: str | None) -> list[AttributePath | None]:
    if text is None:
        return [None] * len(endpoints)
    paths = [parse_sort(e.resource_type, text) for e in endpoints]
    if not any(path and not _is_applied(path) for path in paths):
        raise InvalidValue(f"sortBy: no schema knows the attribute {shown(text)}")
    return paths


def _is_applied(path: AttributePath) -> bool:
    return path.schema is not None and path.schema.id == APPLIED_URN


async def _candidates(endpoint: Endpoint, filter_: Filter | None) -> list[str] | None:
    """Return the ids among which every match is, None if an index does not tell."""
    if filter_ is None:
        return None
    directory, kind = endpoint.directory, endpoint.kind
    look_ups = anchors(filter_)
    if look_ups is not None:
        found = [
            [value] if name == "id" else await directory.find(kind, name, value)
            for name, value in dict.fromkeys(look_ups)
        ]
        return list(dict.fromkeys(chain(*found)))
    if kind == "group" and (member := member_anchor(filter_)) is not None:
        return sorted((await directory.groups_of([member]))[member])
    return None
