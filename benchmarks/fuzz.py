"""Whether any request makes the receiver fail, harm a bystander, or say what it must not.

    python benchmarks/fuzz.py [--requests 100000] [--seed 1] [--clients 4]
    python benchmarks/fuzz.py --url http://127.0.0.1:8080/scim/acme/v2 --token-file FILE

Sends requests made by chance: bodies of users, groups, PATCHes, bulks and searches with pieces
taken out, doubled, swapped and broken; filters and paths from the grammar of RFC 7644 (figure 1),
half of them broken again; odd headers, queries and methods. Starts a Redis and a receiver of its
own, or uses the tenant behind `--url`. After every answer:

- no 5xx but 501, and nothing that hangs;
- an error is an Error of RFC 7644 §3.12 with its status as a string and a known `scimType`;
- a success is JSON with `schemas`, and never longer than what was asked for;
- no answer holds the token, a password that was sent, or a line of a traceback;
- a user and a group that no request names are byte for byte what they were.

Prints what came back by kind of request, each finding once with a request that shows it, then one
line of JSON; exits 1 if there is a finding. The same seed sends the same requests, ids apart.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.alone import receiver_alone
from benchmarks.fuzz_requests import (
    CANARY,
    GROUP,
    MESSAGES,
    USER,
    Answer,
    Grammar,
    Maker,
    Request,
)

ANSWER_S = 30.0
STARTS_S = 20.0
LOOK_EVERY = 200  # requests between two looks at the bystanders
KEPT = 40  # findings that are printed

SCIM_TYPES = {
    None,
    "invalidFilter",
    "tooMany",
    "uniqueness",
    "mutability",
    "invalidSyntax",
    "invalidPath",
    "noTarget",
    "invalidValue",
    "invalidVers",
    "sensitive",
    "invalidCursor",  # RFC 9865 §2.1
    "expiredCursor",
    "invalidCount",
}
LEAKS = ("Traceback", 'File "/', "site-packages", "redis.exceptions", "msgspec.", "ZREVRANGE")

CONFIG = """
[redis]
url = "{redis}"
[targets.main]
hosts = ["127.0.0.1:9000"]
[tenants.fuzz]
targets = ["main"]
user_name = "fuzz__{{userName}}"
marker_role = "fuzz_managed"
[tenants.other]
targets = ["main"]
user_name = "other__{{userName}}"
marker_role = "other_managed"
"""


# --- speaking HTTP ----------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class Wire:
    """One connection, opened again where the server closed it. Sends what no client would."""

    host: str
    port: int
    path: str
    token: str = field(repr=False)
    _streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, request: Request) -> Answer:
        """Raises TimeoutError, OSError or ValueError if no whole answer comes."""
        for last in (False, True):
            reader, writer = await self._open()
            try:
                writer.write(self._bytes(request))
                async with asyncio.timeout(ANSWER_S):
                    await writer.drain()
                    return await self._answer(request, reader)
            except (ConnectionError, asyncio.IncompleteReadError):
                self.close()
                if last:  # a kept connection may have been closed for being idle, a new one not
                    raise
        raise AssertionError

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self.host, self.port, limit=1 << 26)
        return self._streams

    def _bytes(self, request: Request) -> bytes:
        headers = {"host": f"{self.host}:{self.port}", "authorization": f"Bearer {self.token}"}
        lines = [f"{request.method} {self.path}{request.target} HTTP/1.1"]
        given = {name.lower() for name, _ in request.headers}
        lines += [f"{name}: {value}" for name, value in headers.items() if name not in given]
        lines += [f"{name}: {value}" for name, value in request.headers if value]
        body = request.body
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogatepass") + (body or b"")

    async def _answer(self, request: Request, reader: asyncio.StreamReader) -> Answer:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(head[0].split(" ", 2)[1])
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head[1:] if line)
        }
        empty = request.method == "HEAD" or status in {204, 304}
        length = 0 if empty else int(headers.get("content-length", 0))
        body = await reader.readexactly(length)
        if not empty and headers.get("transfer-encoding") == "chunked":
            while size := int(await reader.readline(), 16):
                body += await reader.readexactly(size + 2)
            await reader.readline()
        if headers.get("connection", "").lower() == "close":
            self.close()
        return Answer(status, headers, body)


# --- judging answers --------------------------------------------------------------------------


def judge(request: Request, answer: Answer, secrets: tuple[str, ...]) -> str | None:
    """Return what is wrong with an answer, None if nothing is."""
    status, body = answer.status, answer.body
    if status >= 500 and status != 501:
        return f"{status}"
    text = body.decode("utf-8", "replace")
    if leak := next((word for word in LEAKS if word in text), None):
        return f"says {leak}"
    if any(secret in text for secret in secrets):
        return "says a secret"
    if request.method == "HEAD" or status in {204, 304}:
        return "a body where none may be" if body else None
    if not body:
        return f"{status} without a body"
    if not answer.headers.get("content-type", "").startswith("application/scim+json"):
        return f"{status} as {answer.headers.get('content-type')}"
    try:
        content = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return f"{status} that is not JSON"
    if not isinstance(content, dict) or not isinstance(content.get("schemas"), list):
        return f"{status} without schemas"
    return _judge_error(status, content) if status >= 400 else _judge_success(content)


def _judge_error(status: int, content: dict[str, Any]) -> str | None:
    if content["schemas"] != [f"{MESSAGES}Error"]:
        return f"{status} that is no Error"
    if content.get("status") != str(status):
        return f"{status} whose status is {content.get('status')!r}"
    if content.get("scimType") not in SCIM_TYPES:
        return f"{status} of the unknown scimType {content.get('scimType')!r}"
    if not isinstance(content.get("detail"), str) or len(content["detail"]) > 2000:
        return f"{status} without a detail of a readable length"
    return None


def _judge_success(content: dict[str, Any]) -> str | None:
    if f"{MESSAGES}BulkResponse" in content["schemas"]:
        return _judge_bulk(content["Operations"])
    if f"{MESSAGES}ListResponse" not in content["schemas"]:
        return None
    listed = content.get("Resources", [])
    if len(listed) > content.get("totalResults", len(listed)):  # RFC 9865 lets it be left out
        return "more resources than totalResults"
    if any("id" not in r and "name" not in r for r in listed):
        return "a listed resource without id"
    return None


def _judge_bulk(operations: list[dict[str, Any]]) -> str | None:
    """Each has a status as a string; an error its body, which is judged like any other."""
    for operation in operations:
        status = operation.get("status")
        if not isinstance(status, str) or not status.isdecimal():
            return f"an operation with the status {status!r}"
        if status >= "500":
            return f"an operation with {status}"
        if status >= "400":
            wrong = _judge_error(int(status), operation.get("response") or {"schemas": []})
            if wrong:
                return f"an operation with a {wrong}"
    return None


@dataclass(slots=True)
class Report:
    """What came back. `findings`: what was wrong → the first request that showed it."""

    answered: Counter[tuple[str, int]] = field(default_factory=Counter)
    findings: dict[str, str] = field(default_factory=dict)
    slowest_s: float = 0.0
    slowest: str = ""

    def find(self, what: str, request: str) -> None:
        self.findings.setdefault(what, request)


# --- running ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Service:
    """Where requests go. `bystanders` are reached at other bases too: with their own token."""

    url: str
    token: str = field(repr=False)
    other_url: str | None = None
    other_token: str | None = field(default=None, repr=False)
    log: Path | None = None

    def wire(self, *, other: bool = False) -> Wire:
        url, token = (self.other_url, self.other_token) if other else (self.url, self.token)
        assert url is not None
        assert token is not None
        parts = urlsplit(url)
        return Wire(host=parts.hostname or "", port=parts.port or 80, path=parts.path, token=token)


@contextlib.asynccontextmanager
async def own_service() -> AsyncIterator[Service]:
    """Run a Redis and a receiver in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory() as name:
        async with receiver_alone(Path(name), ("fuzz", "other"), CONFIG) as alone:
            root, token = f"http://127.0.0.1:{alone.port}/scim", alone.tokens
            yield Service(
                f"{root}/fuzz/v2", token["fuzz"], f"{root}/other/v2", token["other"], alone.log
            )


@dataclass(slots=True)
class Bystanders:
    """A user and her group, in the tenant that is fuzzed and in another one; nobody names them."""

    wires: list[Wire]
    seen: dict[tuple[int, str], bytes] = field(default_factory=dict)

    async def create(self) -> None:
        mark = uuid.uuid4().hex
        for number, wire in enumerate(self.wires):
            body = {"schemas": [USER], "userName": f"bystander-{mark}", "externalId": mark}
            user = await _created(wire, "/Users", body)
            name, members = f"bystanders-{mark}", [{"value": user}]
            whole = {"schemas": [GROUP], "displayName": name, "members": members}
            group = await _created(wire, "/Groups", whole)
            for target in (f"/Users/{user}", f"/Groups/{group}"):
                self.seen[number, target] = await self._look(wire, target)

    async def changed(self) -> list[str]:
        """Return the paths of those that are not byte for byte what they were."""
        return [
            target
            for (number, target), before in self.seen.items()
            if await self._look(self.wires[number], target) != before
        ]

    async def delete(self) -> None:
        for number, target in self.seen:
            await self.wires[number].send(Request("setup", "DELETE", target))

    async def _look(self, wire: Wire, target: str) -> bytes:
        return (await wire.send(Request("look", "GET", target))).body


async def _created(wire: Wire, target: str, body: dict[str, Any]) -> str:
    headers = (("Content-Type", "application/scim+json"),)
    request = Request("setup", "POST", target, headers, json.dumps(body).encode())
    answer = await wire.send(request)
    if answer.status != 201:
        raise SystemExit(f"the service takes no {target}: {answer.status} {answer.body!r}")
    identifier: str = json.loads(answer.body)["id"]
    return identifier


async def fuzz(
    service: Service, requests: int, seed: int, clients: int, progress: Callable[[int], None]
) -> Report:
    report = Report()
    others = [service.wire(other=True)] if service.other_url else []
    bystanders = Bystanders([service.wire(), *others])
    await bystanders.create()
    done = 0

    async def client(number: int, share: int) -> None:
        nonlocal done
        chance = random.Random(f"{seed}/{number}")
        maker = Maker(chance, f"f{seed}-{number}", Grammar(chance))
        wire = service.wire()
        for _ in range(share):
            request = maker.next()
            await _one(service, wire, maker, request, report)
            done += 1
            if done % LOOK_EVERY == 0:
                for target in await bystanders.changed():
                    report.find(f"a bystander changed: {target}", request.as_curl(service.url))
                progress(done)
        wire.close()

    shares = [requests // clients + (n < requests % clients) for n in range(clients)]
    async with asyncio.TaskGroup() as tasks:
        for number, share in enumerate(shares):
            tasks.create_task(client(number, share))
    for target in await bystanders.changed():
        report.find(f"a bystander changed: {target}", "looked at after the last request")
    if service.log is not None:
        for line in service.log.read_text(errors="replace").splitlines():
            if '"request.failed"' in line:
                report.find("the log has request.failed", line)
            if CANARY in line or service.token in line:
                report.find("the log has a secret", "")
    for wire in bystanders.wires:
        wire.close()
    return report


async def _one(
    service: Service, wire: Wire, maker: Maker, request: Request, report: Report
) -> None:
    started = time.monotonic()
    try:
        answer = await wire.send(request)
    except (OSError, ValueError, EOFError, asyncio.LimitOverrunError) as error:
        wire.close()
        report.find(f"{request.kind}: no answer, {type(error).__name__}", request.as_curl("BASE"))
        return
    took = time.monotonic() - started
    if took > report.slowest_s:
        report.slowest_s, report.slowest = took, request.as_curl("BASE")[:1500]
    report.answered[request.kind, answer.status] += 1
    maker.learn(request, answer)
    secret = service.token.rpartition("_")[2]
    if wrong := judge(request, answer, (secret, CANARY)):
        shown = f"{request.as_curl('BASE')}\n    -> {answer.status} {answer.body[:300]!r}"
        report.find(f"{request.kind}: {wrong}", shown)


def _table(report: Report) -> Table:
    statuses = sorted({status for _, status in report.answered})
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0))
    for title in ("kind", *map(str, statuses)):
        table.add_column(title, justify="left" if title == "kind" else "right", no_wrap=True)
    for kind in sorted({kind for kind, _ in report.answered}):
        table.add_row(kind, *(str(report.answered[kind, s] or "") for s in statuses))
    return table


async def run(arguments: argparse.Namespace) -> int:
    console = Console(stderr=True)
    console.width = max(console.width, 120)
    started = time.monotonic()

    def progress(done: int) -> None:
        if console.is_terminal:
            console.print(f"{done} of {arguments.requests}", end="\r")

    async with contextlib.AsyncExitStack() as stack:
        if arguments.url:
            service = Service(arguments.url.rstrip("/"), arguments.token_file.read_text().strip())
        else:
            service = await stack.enter_async_context(own_service())
        report = await fuzz(
            service, arguments.requests, arguments.seed, arguments.clients, progress
        )
    elapsed = time.monotonic() - started
    console.print(_table(report))
    for what, request in list(report.findings.items())[:KEPT]:
        console.print(f"FOUND {what}\n    {request}", markup=False, highlight=False, soft_wrap=True)
    line = {
        "requests": report.answered.total(),
        "seed": arguments.seed,
        "seconds": round(elapsed, 1),
        "slowest_ms": round(report.slowest_s * 1000),
        "succeeded": sum(n for (_, s), n in report.answered.items() if s < 400),
        "findings": sorted(report.findings),
    }
    print(json.dumps(line))
    if arguments.slowest:
        console.print(report.slowest, markup=False, highlight=False, soft_wrap=True)
    return 1 if report.findings else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--url", help="a tenant's base, …/scim/TENANT/v2; resources are left there")
    parser.add_argument("--token-file", type=Path, help="the file with that tenant's token")
    parser.add_argument("--slowest", action="store_true", help="show the slowest request too")
    arguments = parser.parse_args()
    if bool(arguments.url) != bool(arguments.token_file):
        parser.error("--url and --token-file go together")
    return asyncio.run(run(arguments))


if __name__ == "__main__":
    sys.exit(main())
