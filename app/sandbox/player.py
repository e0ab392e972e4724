"""Plays stories over HTTP as an identity provider does, and reports what did not go as they say.

The requests for one object go out one after another, several objects at once. A 429, a 503 and a
lost connection are not failures: they are repeated, after `Retry-After` where it is a number, since
Okta does so. A repeat of a DELETE whose answer was lost may find nothing left (404).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import aiohttp
import msgspec
import yarl

from app.sandbox import staging
from app.sandbox.cast import Cast
from app.sandbox.staging import Request, Scope
from app.sandbox.story import Exchange, Step, Story, StoryError

# Okta waits this long for an answer before it counts the connection as lost.
ANSWER_TIMEOUT_S = 60.0
_SHOWN_ANSWER = 300


@dataclass(frozen=True, slots=True)
class Patience:
    """How a request is repeated: waits double from the first to the longest.

    Okta tries ten times and starts at five minutes where no `Retry-After` came; the waits here are
    short, so that a test of a restart takes seconds.
    """

    attempts: int = 10
    first_wait_s: float = 0.25
    longest_wait_s: float = 5.0

    def wait_s(self, attempt: int, retry_after: str | None) -> float:
        """Return the pause after attempt number `attempt` (from 1)."""
        if retry_after is not None and retry_after.isdecimal():
            return float(retry_after)
        return float(min(self.first_wait_s * 2 ** (attempt - 1), self.longest_wait_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An answer that the story doesn't expect; the later requests for its object were not sent."""

    story: str
    step: str
    request: str
    reason: str
    answer: str = ""

    def __str__(self) -> str:
        told = f"\n    {self.answer}" if self.answer else ""
        return f"{self.story}: {self.step}\n    {self.request}: {self.reason}{told}"


@dataclass(slots=True, kw_only=True)
class Report:
    """What was played. `seqs`: the `X-Event-Seq` of every write, in the order of the answers.

    `sent` counts every request that went out, `repeats` those of them that were repeats. `gave_up`:
    a request got no answer at all, after every repeat; nothing was sent after that.
    """

    sent: int = 0
    repeats: int = 0
    writes: int = 0
    duration_s: float = 0.0
    gave_up: bool = False
    seqs: list[int] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    @property
    def last_seq(self) -> int:
        """The seq that a lane has to have applied for all of this to be on its target; 0: none."""
        return max(self.seqs, default=0)


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` objects of a step have been worked on."""

    story: str
    step: str
    done: int
    total: int


class _Lost(Exception):
    """No answer came: the connection was refused, cut, or silent for too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scene:
    """What the requests of one step share. `before`: the last seq when the step began."""

    session: aiohttp.ClientSession
    story: Story
    step: Step
    before: int
    report: Report

    def fail(self, request: str, reason: str, answer: str = "") -> None:
        self.report.failures.append(
            Failure(
                story=self.story.name,
                step=self.step.step,
                request=request,
                reason=reason,
                answer=answer,
            )
        )


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class Player:
    """One identity provider's connection to one tenant: base URL, token, and the cast it knows.

    A player is used by one task at a time. Its cast goes on from story to story.
    """

    def __init__(
        self,
        base_url: str,
        token: str,
        cast: Cast,
        *,
        at_once: int = 8,
        patience: Patience | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.cast = cast
        self._base_url = base_url.rstrip("/")
        self._token = token
        self._at_once = at_once
        self._patience = patience or Patience()
        self._progress: Callable[[Progress], None] = _silent
        self._sleep = sleep
        self._last_seq = 0

    async def play(
        self, stories: Sequence[Story], progress: Callable[[Progress], None] | None = None
    ) -> Report:
        """Send everything that the stories say, in their order; return what came of it.

        Raises nothing for what the receiver does: that is in the report. `progress` is called
        after each object.
        """
        self._progress = progress or _silent
        report = Report()
        started = time.monotonic()
        for story in stories:
            async with self._session(story) as session:
                for step in story.steps:
                    if report.gave_up:
                        break
                    await self._play_step(
                        _Scene(
                            session=session,
                            story=story,
                            step=step,
                            before=self._last_seq,
                            report=report,
                        )
                    )
        report.duration_s = time.monotonic() - started
        return report

    def _session(self, story: Story) -> aiohttp.ClientSession:
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=self._at_once, force_close=story.connection == "new"
            ),
            headers={"Authorization": f"Bearer {self._token}"},
            timeout=aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S),
        )
        # aiohttp repeats a GET, PUT or DELETE by itself when a connection is cut and tells nobody;
        # its own TestClient switches that off in the same way. Here each repeat is counted.
        session._retry_connection = False  # noqa: SLF001
        return session

    async def _play_step(self, scene: _Scene) -> None:
        step = scene.step
        try:
            staging.happen(step.company, self.cast)
            waiting = staging.scopes(step, self.cast)
        except StoryError as error:
            scene.fail("nothing was sent", str(error))
            return
        done, total = 0, len(waiting)
        objects = iter(waiting)

        async def work() -> None:
            nonlocal done
            for scope in objects:  # shared by the workers: each takes the next object
                if scene.report.gave_up:
                    return
                await self._play_object(scene, scope)
                done += 1
                self._progress(Progress(scene.story.title, step.step, done, total))

        async with asyncio.TaskGroup() as workers:
            for _ in range(min(self._at_once, total)):
                workers.create_task(work())

    async def _play_object(self, scene: _Scene, scope: Scope) -> None:
        for exchange in scene.step.requests:
            shown = f"{exchange.method} {exchange.path}"
            try:
                request = staging.render_request(scene.story, exchange, scope)
                shown = str(request)
                answer, repeated = await self._send(scene, request)
                document = _document(answer)
                wrong = staging.mismatches(exchange, scope, answer.status, document)
                if repeated and exchange.method == "DELETE" and answer.status == 404:
                    wrong = []
                wrong += _wrong_form(answer) + self._note_seq(scene, exchange, answer)
                if wrong:
                    told = answer.body.decode("utf-8", "replace")[:_SHOWN_ANSWER]
                    scene.fail(shown, "; ".join(wrong), told)
                    return
                staging.keep(exchange, scope, document)
            except _Lost as error:
                scene.report.gave_up = True
                scene.fail(shown, f"no answer: {error}")
                return
            except StoryError as error:
                scene.fail(shown, str(error))
                return

    async def _send(self, scene: _Scene, request: Request) -> tuple[_Answer, bool]:
        """Return the answer, and whether an earlier attempt may have been carried out."""
        lost = False
        for attempt in range(1, self._patience.attempts + 1):
            scene.report.sent += 1
            scene.report.repeats += attempt > 1
            last = attempt == self._patience.attempts
            try:
                answer = await self._send_once(scene.session, request)
            except (
                aiohttp.ClientConnectionError,
                aiohttp.ClientPayloadError,
                TimeoutError,
            ) as error:
                lost = True
                if last:
                    raise _Lost(f"{type(error).__name__} {error}") from error
                await self._sleep(self._patience.wait_s(attempt, None))
                continue
            if answer.status not in (429, 503) or last:
                return answer, lost
            lost = lost or answer.status == 503  # its commit may have happened all the same
            await self._sleep(self._patience.wait_s(attempt, answer.headers.get("retry-after")))
        raise AssertionError("the last attempt returns or raises")

    async def _send_once(self, session: aiohttp.ClientSession, request: Request) -> _Answer:
        url = yarl.URL(f"{self._base_url}{request.target}", encoded=True)
        data = None if request.body is None else msgspec.json.encode(request.body)
        headers = dict(request.headers)
        if data is None:
            headers.pop("Content-Type", None)
        async with session.request(request.method, url, data=data, headers=headers) as response:
            body = await response.read()
            seen = {name.lower(): value for name, value in response.headers.items()}
            return _Answer(response.status, seen, body)

    def _note_seq(self, scene: _Scene, exchange: Exchange, answer: _Answer) -> list[str]:
        """Take the seq of a write; return what is wrong with it."""
        if exchange.method == "GET" or answer.status >= 300:
            return []
        scene.report.writes += 1
        text = answer.headers.get("x-event-seq", "")
        if not text.isdecimal():
            return [f"X-Event-Seq is {text!r}"]
        seq = int(text)
        scene.report.seqs.append(seq)
        self._last_seq = max(self._last_seq, seq)
        if not exchange.expect.changes and seq > scene.before:
            return [f"made event {seq}, although nothing changes"]
        return []


def _silent(_: Progress) -> None:
    """Tell nobody how far it is."""


def _document(answer: _Answer) -> object:
    """Return the answer's JSON; None where it has none, which any expectation will point out."""
    if not answer.body:
        return None
    try:
        document: object = msgspec.json.decode(answer.body)
    except msgspec.DecodeError:
        return None
    return document


def _wrong_form(answer: _Answer) -> list[str]:
    """Return what is wrong with the answer's media type (RFC 7644 §3.1)."""
    media_type = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if answer.body and media_type != "application/scim+json":
        return [f"Content-Type is {media_type!r}"]
    return []
