"""`/Bulk` (RFC 7644 §3.7): every operation is a write of its own, with an answer of its own.

Nothing holds them together but the request: each is atomic, and what was done before an error
stays. Where resources refer to each other in a circle, the first is created without these values
and completed as soon as they have ids; if that is refused it is taken away again.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import replace
from http import HTTPStatus
from typing import Any

import msgspec

from app.directory.directory import Origin
from app.errors import (
    Conflict,
    DirectoryUnavailable,
    NotFound,
    NotImplementedByServer,
    ScimError,
    Unavailable,
)
from app.http.answers import Answer, answer
from app.http.bodies import parse_json, read_body
from app.http.endpoint import Endpoint
from app.http.exchange import Exchange
from app.http.preconditions import Preconditions, parse_preconditions
from app.http.receiver import Caller, Receiver
from app.http.resources import kind_at
from app.http.unanswered import Key
from app.http.writes import Write, Written
from app.scim.bulk import (
    BulkOperation,
    BulkRequest,
    creators,
    order,
    parse_bulk,
    references,
    resolved,
    without,
)
from app.scim.messages import BULK_RESPONSE, error_body

_encode = msgspec.json.Encoder(order="deterministic").encode
Result = dict[str, Any]


async def bulk(exchange: Exchange) -> Answer:
    receiver, caller = exchange.receiver, exchange.caller
    limits = caller.settings.limits
    most_bytes = min(limits.max_bulk_bytes, limits.max_body_bytes)
    body = await read_body(exchange.request, most_bytes, "maxPayloadSize")
    parsed = parse_bulk(parse_json(body), max_operations=limits.max_bulk_operations)
    created = list[Key]()
    try:
        results = await _Job(receiver, caller, parsed, created).run()
    except BaseException:
        receiver.unanswered.lost(created)
        raise
    headers: dict[str, str] = {}
    with suppress(DirectoryUnavailable):  # what was done is told all the same
        headers["X-Event-Seq"] = str(await caller.tenant.directory.last_seq())
    return answer(
        {"schemas": [BULK_RESPONSE], "Operations": results},
        headers=headers,
        sent=receiver.unanswered.told_of(created),
    )


class _Job:
    """`_ids`: what bulkIds stand for by now. `_incomplete`: creations that wait for others.
    `_created`: is told what was created.

    `_missing`, `_waiters`: the bulkIds that each of those waits for, and the other way round:
    a request costs no more than the references in it.
    """

    def __init__(
        self, receiver: Receiver, caller: Caller, request: BulkRequest, created: list[Key]
    ) -> None:
        self._receiver, self._caller, self._request = receiver, caller, request
        self._created = created
        self._operations = request.operations
        self._makers = creators(request.operations)
        self._ids: dict[str, str] = {}
        self._incomplete: dict[int, str] = {}
        self._missing: dict[int, set[str]] = {}
        self._waiters: dict[str, list[int]] = {}
        self._results: dict[int, Result] = {}
        self._errors = 0
        self._down: ScimError | None = None

    async def run(self) -> list[Result]:
        """Return the results of what was done or tried, in the client's order."""
        bound = self._request.fail_on_errors
        for number in order(self._operations):
            if bound is not None and self._errors >= bound:
                break
            await self._perform(number)
        for number in list(self._incomplete):  # nobody gets an id any more
            await self._complete(number)
        return [result for _, result in sorted(self._results.items())]

    async def _perform(self, number: int) -> None:
        operation = self._operations[number]
        try:
            if operation.problem is not None:
                raise operation.problem
            waiting = self._waiting(number)
            written = await self._write(operation, waiting)
        except ScimError as error:
            self._fail(number, error)
            return
        self._succeed(number, written)
        if waiting:
            self._incomplete[number], self._missing[number] = written.id, set(waiting)
            for name in waiting:
                self._waiters.setdefault(name, []).append(number)
        if operation.method == "POST" and operation.bulk_id is not None:
            self._ids[operation.bulk_id] = written.id
            for waiter in self._waiters.pop(operation.bulk_id, []):
                self._missing[waiter].discard(operation.bulk_id)
                if not self._missing[waiter]:
                    await self._complete(waiter)

    def _waiting(self, number: int) -> frozenset[str]:
        """Return the bulkIds that the operation refers to and that have no id yet.

        Raises Conflict if they can't get one, or if the operation can't do without.
        """
        operation = self._operations[number]
        waiting = references(operation) - self._ids.keys()
        for name in sorted(waiting):
            maker = self._makers.get(name)
            if maker is None:
                raise Conflict(f"bulkId:{name} is the bulkId of no POST in this request")
            if maker in self._results or maker == number or operation.method != "POST":
                raise Conflict(f"bulkId:{name} has not become a resource")
        return waiting

    async def _complete(self, number: int) -> None:
        """Give a created resource the values that had no id when it was created.

        One that still waits for an id has failed.
        """
        operation, missing = self._operations[number], self._missing[number]
        resource_id = self._incomplete.pop(number)
        try:
            if missing:
                raise Conflict(f"bulkId:{min(missing)} has not become a resource")
            completing = replace(operation, method="PUT", id=resource_id, version=None)
            self._succeed(number, await self._write(completing, frozenset()), created=True)
        except ScimError as error:
            await self._undo(operation, resource_id)
            self._fail(number, Conflict(error.detail))

    async def _undo(self, operation: BulkOperation, resource_id: str) -> None:
        undoing = replace(operation, method="DELETE", id=resource_id, version=None)
        try:
            await self._write(undoing, frozenset())
        except ScimError:
            metrics = self._receiver.metrics
            metrics.bulk_left.labels(metrics.tenant(self._caller.tenant.name)).inc()

    async def _write(self, operation: BulkOperation, waiting: frozenset[str]) -> Written:
        if self._down is not None:
            raise self._down
        write = Write(
            endpoint=self._endpoint(operation),
            origin=self._origin(operation),
            preconditions=_preconditions(operation),
        )
        data = resolved(without(operation.data, waiting) if waiting else operation.data, self._ids)
        resource_id = resolved(operation.id, self._ids)
        try:
            match operation.method:
                case "POST":
                    written = await write.create(data)
                    self._created += [written.created] if written.created else []
                    return written
                case "PUT":
                    return await write.replace(resource_id, data)
                case "PATCH":
                    return await write.patch(resource_id, data)
                case _:
                    return await write.delete(resource_id)
        except DirectoryUnavailable:
            self._down = Unavailable("the directory is not available, try again")
            raise self._down from None

    def _endpoint(self, operation: BulkOperation) -> Endpoint:
        kind = kind_at(operation.endpoint)
        if operation.endpoint == "Me":
            raise NotImplementedByServer("Me: a token belongs to no user here")
        if kind is None:
            raise NotFound("path: no such endpoint")
        return Endpoint(self._receiver, self._caller, kind)

    def _origin(self, operation: BulkOperation) -> Origin:
        head = f"BULK {operation.method} {operation.path}\n".encode(errors="surrogateescape")
        digest = hashlib.sha256(head + _encode(operation.data)).hexdigest()[:32]
        return self._caller.origin(digest)

    def _succeed(self, number: int, written: Written, *, created: bool = False) -> None:
        operation = self._operations[number]
        status = HTTPStatus.CREATED if created else written.status
        result = self._result(operation, status, written.id)
        if "ETag" in written.headers:
            result["version"] = written.headers["ETag"]
        self._results[number] = result

    def _fail(self, number: int, error: ScimError) -> None:
        operation = self._operations[number]
        self._errors += 1
        existing = None if operation.method == "POST" else operation.id
        result = self._result(operation, error.status, resolved(existing, self._ids))
        self._results[number] = result | {"response": error_body(error)}

    def _result(
        self, operation: BulkOperation, status: HTTPStatus, resource_id: str | None
    ) -> Result:
        result: Result = {"method": operation.method}
        if operation.bulk_id is not None:
            result["bulkId"] = operation.bulk_id
        if resource_id is not None:
            result["location"] = f"{self._caller.base_url}/{operation.endpoint}/{resource_id}"
        return result | {"status": str(status.value)}


def _preconditions(operation: BulkOperation) -> Preconditions:
    if operation.version is None or operation.method == "POST":
        return Preconditions()
    return parse_preconditions([operation.version], [])
