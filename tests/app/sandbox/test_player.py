"""The player against a small SCIM endpoint: what arrives there, and what is reported."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import msgspec
import pytest
from aiohttp import web

from app.sandbox.cast import load_cast
from app.sandbox.player import Patience, Player, Progress
from app.sandbox.story import Story, day_of, load_chain, load_story, parse_story

LIST = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
Refusal = Callable[[web.Request, int], Awaitable[web.Response | None]]


@dataclass
class Endpoint:
    """Keeps users and groups in memory as the stories need it, and everything that arrived.

    `refuse`: answers a request, given how often the same arrived before, instead of the endpoint.
    """

    url: str = ""
    seq: int = 0
    users: dict[str, dict[str, object]] = field(default_factory=dict)
    groups: dict[str, dict[str, object]] = field(default_factory=dict)
    arrived: list[tuple[str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    refuse: Refusal | None = None

    async def handle(self, request: web.Request) -> web.Response:
        shown = (request.method, request.raw_path)
        before = self.arrived.count(shown)
        self.arrived.append(shown)
        self.headers.append(dict(request.headers))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            refusal = await self.refuse(request, before) if self.refuse else None
            return refusal or await self.answer(request)
        finally:
            self.at_once -= 1

    async def answer(self, request: web.Request) -> web.Response:
        kind, _, key = request.path.strip("/").partition("/")
        store = self.users if kind == "Users" else self.groups
        if request.method == "GET" and not key:
            wanted = request.query.get("filter", "").partition(' eq "')[2].rstrip('"')
            found = [one for one in store.values() if wanted and wanted.lower() in names(one)]
            return scim({"schemas": [LIST], "totalResults": len(found), "Resources": found})
        if request.method == "GET":
            return scim(store[key])
        body = await request.json()
        if request.method == "POST":
            key = f"{kind}-{len(store)}"
            store[key] = {**body, "id": key}
        elif request.method == "PUT":
            if {**store[key], **body, "id": key} == store[key]:
                return scim(store[key], seq=self.seq)
            store[key] = {**body, "id": key}
        self.seq += 1
        return scim(store[key], status=201 if request.method == "POST" else 200, seq=self.seq)


def names(resource: dict[str, object]) -> set[str]:
    return {str(resource.get(name)).lower() for name in ("userName", "displayName")}


def scim(document: object, *, status: int = 200, seq: int | None = None) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(document),
        status=status,
        content_type="application/scim+json",
        headers={} if seq is None else {"X-Event-Seq": str(seq)},
    )


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    endpoint = Endpoint()
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", endpoint.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    endpoint.url = site.name
    yield endpoint
    await runner.cleanup()


async def no_wait(_: float) -> None:
    """Repeat at once: how long to wait is told by Patience, and tested there."""


def player(endpoint: Endpoint, **options: object) -> Player:
    return Player(endpoint.url, "secret", load_cast(), sleep=no_wait, **options)  # type: ignore[arg-type]


def one_request(**changes: object) -> Story:
    exchange = {"method": "GET", "path": "/Users", "expect": {"status": [200]}, **changes}
    told = {
        "title": "t",
        "idp": "okta",
        "dialect": "d",
        "source": "s",
        "about": "a",
        "steps": [{"step": "one", "requests": [exchange]}],
    }
    return parse_story("mine", msgspec.json.encode(told))


async def test_a_first_sync_arrives_whole_and_is_reported_without_failures(
    endpoint: Endpoint,
) -> None:
    report = await player(endpoint).play(load_chain("okta_first_sync"))
    assert report.failures == []
    assert (len(endpoint.users), len(endpoint.groups)) == (200, 12)
    everyone = endpoint.groups["Groups-0"]
    assert isinstance(everyone["members"], list)
    assert {member["value"] for member in everyone["members"]} == endpoint.users.keys()
    # test 2, people 2 x 200, groups 4 x 12; every POST and PUT has a seq of its own
    assert (report.sent, report.writes, report.repeats) == (450, 224, 0)
    assert sorted(report.seqs) == list(range(1, 225))
    assert report.last_seq == 224


async def test_requests_look_as_the_identity_provider_s_do(endpoint: Endpoint) -> None:
    await player(endpoint).play([load_story("okta_connection_test")])
    assert endpoint.arrived[0] == ("GET", "/Users?startIndex=1&count=2")
    assert endpoint.headers[0]["Authorization"] == "Bearer secret"
    assert endpoint.headers[0]["User-Agent"] == "Okta SCIM Client 1.0.0"
    assert "Content-Type" not in endpoint.headers[0]


async def test_several_objects_are_worked_on_at_once_and_each_one_in_order(
    endpoint: Endpoint,
) -> None:
    async def let_others_in(_: web.Request, __: int) -> None:
        await asyncio.sleep(0.001)

    endpoint.refuse = let_others_in
    await player(endpoint, at_once=4).play(load_chain("entra_first_sync"))
    assert endpoint.most_at_once == 4
    for group in endpoint.groups:
        reads = endpoint.arrived.index(("GET", f"/Groups/{group}?excludedAttributes=members"))
        assert reads < endpoint.arrived.index(("PATCH", f"/Groups/{group}"))


async def test_progress_counts_the_objects_of_each_step(endpoint: Endpoint) -> None:
    seen: list[Progress] = []
    await player(endpoint).play(load_chain("okta_first_sync"), progress=seen.append)
    last = {progress.step: (progress.done, progress.total) for progress in seen}
    assert sorted(last.values()) == [(1, 1), (1, 1), (12, 12), (200, 200)]


async def test_what_is_busy_or_cut_off_is_repeated_until_it_answers(endpoint: Endpoint) -> None:
    """429, 503 and a cut connection, one after the other, on every request."""

    async def trouble(request: web.Request, before: int) -> web.Response | None:
        if before == 0:
            return web.Response(status=429, headers={"Retry-After": "1"})
        if before == 1:
            return web.Response(status=503)
        if before == 2:
            assert request.transport is not None
            request.transport.abort()
        return None

    endpoint.refuse = trouble
    report = await player(endpoint).play([load_story("okta_connection_test")])
    assert report.failures == []
    assert (report.sent, report.repeats) == (8, 6)
    assert set(Counter(endpoint.arrived).values()) == {4}


async def test_a_receiver_that_stays_away_is_a_failure_and_no_endless_loop(
    endpoint: Endpoint,
) -> None:
    async def away(_: web.Request, __: int) -> web.Response:
        return web.Response(status=503)

    endpoint.refuse = away
    told = player(endpoint, patience=Patience(attempts=3))
    report = await told.play([one_request()])
    assert [failure.reason for failure in report.failures] == ["status 503 instead of 200"]
    assert report.sent == 3


async def test_a_delete_whose_answer_was_lost_may_find_nothing_left(endpoint: Endpoint) -> None:
    async def gone(_: web.Request, before: int) -> web.Response:
        return scim({"status": "404"}, status=404) if before else web.Response(status=503)

    endpoint.refuse = gone
    deletion = one_request(method="DELETE", path="/Users/x", expect={"status": [204]})
    report = await player(endpoint).play([deletion])
    assert report.failures == []
    report = await player(endpoint).play([deletion])
    assert [failure.reason for failure in report.failures] == ["status 404 instead of 204"]


WRONG = {
    "status": (
        one_request(expect={"status": [204, 404]}),
        "status 200 instead of 204 or 404",
    ),
    "value": (
        one_request(expect={"status": [200], "json": {"/totalResults": 7}}),
        "/totalResults is 0 instead of 7",
    ),
    "seq": (
        one_request(
            method="POST",
            body={"a": 1},
            expect={"status": [201], "changes": False},
        ),
        "made event 1, although nothing changes",
    ),
}


@pytest.mark.parametrize(("told", "reason"), WRONG.values(), ids=WRONG.keys())
async def test_a_wrong_answer_is_reported_with_story_step_and_answer(
    endpoint: Endpoint, told: Story, reason: str
) -> None:
    report = await player(endpoint).play([told])
    (failure,) = report.failures
    assert (failure.story, failure.step, failure.reason) == ("mine", "one", reason)
    assert failure.answer.startswith("{")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (
            web.Response(text="<html>", content_type="text/html"),
            "Content-Type is 'text/html'",
        ),
        (scim({"id": "x"}, status=200), "X-Event-Seq is ''"),
    ],
    ids=["a proxy's page", "no seq"],
)
async def test_an_answer_in_the_wrong_form_is_a_failure(
    endpoint: Endpoint, answer: web.Response, reason: str
) -> None:
    async def instead(_: web.Request, __: int) -> web.Response:
        return answer

    endpoint.refuse = instead
    report = await player(endpoint).play([one_request(method="PUT", body={})])
    assert reason in report.failures[0].reason


async def test_what_an_object_still_needed_is_not_sent_after_a_failure(endpoint: Endpoint) -> None:
    """The user was not created, so their groups cannot be pushed: that is said, not guessed."""

    async def no_users(request: web.Request, _: int) -> web.Response | None:
        return scim({"status": "409"}, status=409) if request.method == "POST" else None

    endpoint.refuse = no_users
    report = await player(endpoint).play([load_story("okta_first_sync")])
    reasons = Counter(failure.reason for failure in report.failures)
    assert reasons == {"status 409 instead of 201": 212}


@pytest.mark.parametrize(
    ("attempt", "retry_after", "wait_s"),
    [
        (1, None, 0.25),
        (2, None, 0.5),
        (9, None, 5.0),
        (1, "7", 7.0),
        (1, "Wed, 21 Oct 2026 07:28:00 GMT", 0.25),
        (1, "-1", 0.25),
    ],
)
def test_retry_after_is_honoured_where_it_is_a_number(
    attempt: int, retry_after: str | None, wait_s: float
) -> None:
    assert Patience().wait_s(attempt, retry_after) == wait_s


async def test_a_whole_day_builds_on_what_earlier_stories_learnt(endpoint: Endpoint) -> None:
    day = [story for story in day_of("okta", "aiw") if story.name != "okta_group_unlink"]
    report = await player(endpoint).play(day)
    assert report.failures == []
    assert endpoint.users["Users-3"]["active"] is True
    assert len(endpoint.users) == 203


async def test_nothing_more_is_sent_to_a_receiver_that_does_not_answer_at_all(
    endpoint: Endpoint,
) -> None:
    async def cut_off(request: web.Request, _: int) -> None:
        assert request.transport is not None
        request.transport.abort()

    endpoint.refuse = cut_off
    told = player(endpoint, at_once=1, patience=Patience(attempts=2))
    report = await told.play(load_chain("okta_first_sync"))
    assert (report.gave_up, report.sent, len(report.failures)) == (True, 2, 1)
    assert report.failures[0].reason.startswith("no answer: ServerDisconnectedError")
