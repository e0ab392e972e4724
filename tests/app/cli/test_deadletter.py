"""Dead letters by command. The worker's part is played here, on the real lane in Redis."""

from __future__ import annotations

import asyncio
import io
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from app.directory.lanes import Acknowledgement, LaneStore, Letter
from app.directory.link import Link

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.app.cli.conftest import Cli

LEASE_MS = 30_000
ANA, BO = "0a-ana", "0b-bo"
ROLE = "role:read/write reports"

Attempt = Callable[[Letter], Letter | None]


def letter(resource_id: str, **fields: Any) -> Letter:
    usual = Letter(
        id="",
        resource_type="User",
        resource_id=resource_id,
        name=f"{resource_id}@acme.example",
        seq_first=3,
        seq_last=5,
        code=493,
        error=f"user '{resource_id}' exists and is not managed",
        attempts=1,
        first_ms=1_700_000_000_000,
        last_ms=1_700_000_001_000,
    )
    return msgspec.structs.replace(usual, **fields)


async def take(store: LaneStore) -> int:
    """Take the lane as a worker does; return the epoch."""
    held = await store.acquire(LEASE_MS)
    assert held is not None
    return held.epoch


async def todo_of(store: LaneStore) -> dict[str, int]:
    found, _ = await store.asked(100)
    return found


async def park(link: Link, tenant: str, *letters: Letter, target: str = "main") -> None:
    store = LaneStore(link, tenant, target)
    epoch = await take(store)
    parked = {one.resource_id: one for one in letters}
    assert await store.acknowledge(epoch, batch(letters=parked))
    assert await store.release(epoch)


def batch(**fields: Any) -> Acknowledgement:
    return Acknowledgement(cursor=0, **fields)


def through(_: Letter) -> None:
    return None


def parked_again(parked: Letter) -> Letter:
    return msgspec.structs.replace(
        parked, attempts=parked.attempts + 1, last_ms=parked.last_ms + 1, error="still taken"
    )


@asynccontextmanager
async def a_worker(link: Link, tenant: str, attempt: Attempt) -> AsyncIterator[None]:
    """Try what is on the to-do list of `main` until the end; `attempt` says what comes of each."""

    async def work() -> None:
        store = LaneStore(link, tenant, "main")
        while True:
            if todo := await todo_of(store):
                epoch = await take(store)
                parked = await store.letters(todo)
                outcomes = {one: attempt(parked[one]) for one in todo if one in parked}
                assert await store.acknowledge(epoch, batch(done=todo, letters=outcomes))
                if await store.settle(epoch) == "more":
                    assert await store.release(epoch)
            await asyncio.sleep(0.01)

    task = asyncio.create_task(work())
    yield
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def ids(cli: Cli) -> list[str]:
    ran = await asyncio.to_thread(cli, "deadletter", "list", "--tenant", cli.tenant, "--json")
    return [row["id"] for row in ran.json]


async def test_a_list_tells_of_each_letter_what_it_is_about(cli: Cli, link: Link) -> None:
    await park(link, cli.tenant, letter(ANA))
    assert cli("deadletter", "list", "--tenant", cli.tenant, "--json").json == [
        {
            "id": f"{cli.tenant}/main/{ANA}",
            "tenant": cli.tenant,
            "target": "main",
            "resource_type": "User",
            "resource_id": ANA,
            "name": f"{ANA}@acme.example",
            "seq_first": 3,
            "seq_last": 5,
            "code": 493,
            "error": f"user '{ANA}' exists and is not managed",
            "attempts": 1,
            "first_at": "2023-11-14T22:13:20.000Z",
            "last_at": "2023-11-14T22:13:21.000Z",
            "revocation": False,
            "statement": "",
        }
    ]


async def test_a_list_can_be_narrowed_and_begins_with_the_oldest(cli: Cli, link: Link) -> None:
    await park(link, cli.tenant, letter(ANA, first_ms=20, code=497), letter(BO, first_ms=10))
    await park(link, cli.tenant, letter(ANA, first_ms=5), target="second")
    await park(link, cli.other, letter(BO))

    def listed(*options: str) -> list[str]:
        rows = cli("deadletter", "list", *options, "--json").json
        return [row["id"].removeprefix(cli.tenant) for row in rows]

    assert listed("--tenant", cli.tenant) == [f"/second/{ANA}", f"/main/{BO}", f"/main/{ANA}"]
    assert listed("--tenant", cli.tenant, "--target", "main") == [f"/main/{BO}", f"/main/{ANA}"]
    assert listed("--tenant", cli.tenant, "--code", "497") == [f"/main/{ANA}"]
    assert len(listed()) == 4
    assert cli("deadletter", "list", "--tenant", cli.tenant, "--code", "1").out == (
        "there are no dead letters\n"
    )


async def test_a_list_has_pages_and_is_narrowed_by_words_and_revocations(
    cli: Cli, link: Link
) -> None:
    many = [letter(f"u{number}", first_ms=number) for number in range(7)]
    await park(link, cli.tenant, *many, letter(ANA, first_ms=90, revocation=True, error="Denied"))

    def listed(*options: str) -> list[str]:
        rows = cli("deadletter", "list", "--tenant", cli.tenant, *options, "--json").json
        return [row["resource_id"] for row in rows]

    assert listed("--limit", "3") == ["u0", "u1", "u2"]
    assert listed("--limit", "3", "--skip", "6") == ["u6", ANA]
    assert listed("--text", "denied") == [ANA]
    assert listed("--text", "U3@ACME") == ["u3"]
    assert listed("--revocations") == [ANA]


async def test_a_replay_asks_for_so_many_a_second(cli: Cli, link: Link) -> None:
    await park(link, cli.tenant, *(letter(f"u{number}") for number in range(5)))
    waiting: list[int] = []

    def attempt(_: Letter) -> None:
        waiting.append(1)

    async with a_worker(link, cli.tenant, attempt):
        command = asyncio.create_task(
            asyncio.to_thread(cli, *("deadletter", "replay", "--all", "--rate", "2", "--json"))
        )
        while len(waiting) < 2:  # noqa: ASYNC110 - another thread's work
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        assert len(waiting) == 2
        ran = await command
    assert ran.code == 0
    assert [row["result"] for row in ran.json] == ["through"] * 5


async def test_one_letter_is_shown_as_it_is_in_the_list(cli: Cli, link: Link) -> None:
    await park(link, cli.tenant, letter(ANA, error="line\nbreak"))
    (row,) = cli("deadletter", "list", "--tenant", cli.tenant, "--json").json
    assert cli("deadletter", "show", row["id"], "--json").json == row
    text = cli("deadletter", "show", row["id"]).out
    assert len(text.splitlines()) == len(row)
    assert "line\\nbreak" in text


async def test_a_letter_that_went_through_is_gone_and_the_exit_code_is_0(
    cli: Cli, link: Link
) -> None:
    await park(link, cli.tenant, letter(ANA), letter(BO))
    async with a_worker(link, cli.tenant, through):
        ran = await asyncio.to_thread(cli, "deadletter", "replay", f"{cli.tenant}/main/{ANA}")
    assert (ran.code, ran.out, ran.err) == (0, "1 of 1 went through\n", "")
    assert await ids(cli) == [f"{cli.tenant}/main/{BO}"]


async def test_a_letter_that_is_parked_again_is_named_with_its_new_error(
    cli: Cli, link: Link
) -> None:
    await park(link, cli.tenant, letter(ANA), letter(BO))

    def attempt(parked: Letter) -> Letter | None:
        return parked_again(parked) if parked.resource_id == BO else None

    async with a_worker(link, cli.tenant, attempt):
        arguments = ("deadletter", "replay", "--all", "--tenant", cli.tenant)
        ran = await asyncio.to_thread(cli, *arguments)
    assert (ran.code, ran.out) == (1, "1 of 2 went through\n")
    assert ran.err == f"{cli.tenant}/main/{BO}: parked: still taken (code 493)\n"
    assert await ids(cli) == [f"{cli.tenant}/main/{BO}"]


async def test_json_tells_the_outcome_of_each(cli: Cli, link: Link) -> None:
    await park(link, cli.tenant, letter(ANA, first_ms=1), letter(BO, code=None))
    async with a_worker(
        link, cli.tenant, lambda one: parked_again(one) if one.resource_id == BO else None
    ):
        arguments = ("deadletter", "replay", "--all", "--tenant", cli.tenant, "--json")
        ran = await asyncio.to_thread(cli, *arguments)
    assert ran.code == 1
    assert sorted(ran.json, key=lambda row: str(row["id"])) == [
        {"id": f"{cli.tenant}/main/{ANA}", "result": "through", "error": None},
        {"id": f"{cli.tenant}/main/{BO}", "result": "parked", "error": "still taken"},
    ]


async def test_an_attempt_from_before_the_asking_is_not_taken_for_the_answer(
    cli: Cli, link: Link
) -> None:
    """A worker may be at it already; its failure says nothing about the attempt asked for."""
    await park(link, cli.tenant, letter(ANA))
    store = LaneStore(link, cli.tenant, "main")
    epoch = await take(store)
    running = asyncio.create_task(
        asyncio.to_thread(cli, "deadletter", "replay", f"{cli.tenant}/main/{ANA}")
    )
    async with asyncio.timeout(10):
        while not await todo_of(store):  # noqa: ASYNC110 - nothing tells of a new entry
            await asyncio.sleep(0.01)
    assert await store.acknowledge(epoch, batch(letters={ANA: parked_again(letter(ANA))}))
    done, _ = await asyncio.wait([running], timeout=1)
    assert not done
    todo = await todo_of(store)
    assert await store.acknowledge(epoch, batch(done=todo, letters={ANA: None}))
    assert (await running).code == 0


async def test_a_role_is_replayed_by_its_name_slashes_and_all(cli: Cli, link: Link) -> None:
    await park(link, cli.tenant, letter(ROLE, resource_type="Role"))
    async with a_worker(link, cli.tenant, through):
        ran = await asyncio.to_thread(cli, "deadletter", "replay", f"{cli.tenant}/main/{ROLE}")
    assert (ran.code, ran.err) == (0, "")


async def test_many_letters_go_through_together(cli: Cli, link: Link) -> None:
    await park(link, cli.tenant, *(letter(f"{number:04}") for number in range(2500)))
    async with a_worker(link, cli.tenant, through):
        arguments = ("deadletter", "replay", "--all", "--tenant", cli.tenant)
        ran = await asyncio.to_thread(cli, *arguments)
    assert (ran.code, ran.out) == (0, "2500 of 2500 went through\n")


async def test_nobody_answering_in_time_is_a_failure_that_says_so(cli: Cli, link: Link) -> None:
    await park(link, cli.tenant, letter(ANA))
    ran = cli("deadletter", "replay", f"{cli.tenant}/main/{ANA}", "--deadline", "1s")
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert "no worker tried it within 1 s; see that `clickhouse-scim worker` runs" in ran.err
    assert await todo_of(LaneStore(link, cli.tenant, "main")) != {}


async def test_a_lane_that_waits_for_its_target_says_what_it_waits_for(
    cli: Cli, link: Link
) -> None:
    await park(link, cli.tenant, letter(ANA))
    store = LaneStore(link, cli.tenant, "main")
    epoch = await take(store)
    await store.report(epoch, "Connection refused", 60_000, 1)
    ran = cli("deadletter", "replay", f"{cli.tenant}/main/{ANA}", "--deadline", "1s")
    assert (ran.code, "waits for its target: Connection refused" in ran.err) == (1, True)


async def test_a_paused_lane_is_told_at_once(cli: Cli, link: Link) -> None:
    await park(link, cli.tenant, letter(ANA))
    cli("lane", "pause", cli.tenant, "main")
    ran = cli("deadletter", "replay", f"{cli.tenant}/main/{ANA}", "--deadline", "1h")
    assert (ran.code, "is paused; `clickhouse-scim lane resume`" in ran.err) == (1, True)
    assert await todo_of(LaneStore(link, cli.tenant, "main")) == {}


async def test_what_is_no_letter_any_more_does_not_keep_the_others(cli: Cli, link: Link) -> None:
    await park(link, cli.tenant, letter(ANA))
    arguments = [f"{cli.tenant}/main/{one}" for one in (ANA, "nobody")]
    async with a_worker(link, cli.tenant, through):
        ran = await asyncio.to_thread(cli, "deadletter", "replay", *arguments)
    assert (ran.code, ran.out) == (1, "1 of 2 went through\n")
    assert "nobody: gone: there is no such dead letter" in ran.err
    assert await ids(cli) == []


def test_nothing_to_replay_is_done(cli: Cli) -> None:
    ran = cli("deadletter", "replay", "--all", "--tenant", cli.tenant)
    assert (ran.code, ran.out) == (0, "there are no dead letters to replay\n")


async def test_on_a_terminal_there_is_a_bar_and_stdout_stays_clean(cli: Cli, link: Link) -> None:
    await park(link, cli.tenant, letter(ANA))
    mine, its = pty.openpty()
    command = [sys.executable, "-m", "app.cli.main", "deadletter", "replay", "--all", "--json"]
    async with a_worker(link, cli.tenant, through):
        process = await asyncio.create_subprocess_exec(
            *command,
            "--tenant",
            cli.tenant,
            "--config",
            str(cli.config),
            stdout=subprocess.PIPE,
            stderr=its,
            env=dict(os.environ) | {"TERM": "xterm"},
        )
        out, _ = await process.communicate()
    os.close(its)
    shown = os.read(mine, 100_000).decode()
    os.close(mine)
    assert process.returncode == 0
    assert "replaying" in shown
    assert [row["result"] for row in msgspec.json.decode(out)] == ["through"]


async def test_a_discarded_letter_is_gone_and_printed_with_the_reason(cli: Cli, link: Link) -> None:
    await park(link, cli.tenant, letter(ANA), letter(BO))
    arguments = ("--reason", "a machine's account", "--yes", "--json")
    ran = cli("deadletter", "discard", f"{cli.tenant}/main/{ANA}", *arguments)
    assert ran.code == 0
    (row,) = ran.json
    assert (row["resource_id"], row["reason"]) == (ANA, "a machine's account")
    assert await ids(cli) == [f"{cli.tenant}/main/{BO}"]


async def test_nothing_is_discarded_where_nobody_can_be_asked(
    cli: Cli, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    await park(link, cli.tenant, letter(ANA))
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    ran = cli("deadletter", "discard", f"{cli.tenant}/main/{ANA}", "--reason", "x")
    assert (ran.code, "add --yes" in ran.err) == (2, True)
    assert len(await ids(cli)) == 1


@pytest.mark.parametrize(("answer", "code", "left"), [("y", 0, 0), ("n", 1, 1), ("\x04", 1, 1)])
async def test_who_is_there_is_shown_the_letter_and_asked(
    answer: str, code: int, left: int, cli: Cli, link: Link
) -> None:
    """The last answer is the end of the input (Ctrl-D)."""
    await park(link, cli.tenant, letter(ANA))
    mine, its = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app.cli.main", "deadletter", "discard"),
        *(f"{cli.tenant}/main/{ANA}", "--reason", "x", "--config", str(cli.config)),
        stdin=its,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    os.write(mine, answer.encode() + b"\n" * (answer != "\x04"))
    out, err = await process.communicate()
    os.close(its)
    os.close(mine)
    assert process.returncode == code
    assert f"user '{ANA}' exists and is not managed" in err.decode()
    assert (b"discarded" in out) == (code == 0)
    assert len(await ids(cli)) == left


async def test_a_revocation_is_not_discarded_by_the_way(cli: Cli, link: Link) -> None:
    await park(link, cli.tenant, letter(ANA, revocation=True))
    arguments = ("deadletter", "discard", f"{cli.tenant}/main/{ANA}", "--reason", "x", "--yes")
    ran = cli(*arguments)
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert "should take access away" in ran.err
    assert len(await ids(cli)) == 1
    assert cli(*arguments, "--revocations-too").code == 0
    assert await ids(cli) == []


@pytest.mark.parametrize("command", [("show",), ("discard", "--reason", "x", "--yes")])
def test_a_letter_that_there_is_not_is_a_failure(command: tuple[str, ...], cli: Cli) -> None:
    name, *options = command
    ran = cli("deadletter", name, f"{cli.tenant}/main/nobody", *options)
    assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)
    assert "`clickhouse-scim deadletter list` shows" in ran.err


WRONG = {
    "no id": (("replay",), "name one ID or more, or give --all"),
    "ids and all": (("replay", "a/b/c", "--all"), "name one ID or more, or give --all"),
    "ids narrowed": (("replay", "a/b/c", "--code", "1"), "name one ID or more, or give --all"),
    "half an id": (("replay", "acme/main"), "it reads TENANT/TARGET/RESOURCE_ID"),
    "an id of nothing": (("show", "//x"), "it reads TENANT/TARGET/RESOURCE_ID"),
    "another tenant's": (("show", "nobody/main/x"), "there is no tenant 'nobody'"),
    "no reason": (("discard", "a/b/c"), "Missing option '--reason'"),
    "another target's": (("list", "--target", "mian"), "did you mean main?"),
}


@pytest.mark.parametrize(("arguments", "why"), WRONG.values(), ids=WRONG.keys())
def test_wrong_usage_is_one_line(arguments: tuple[str, ...], why: str, cli: Cli) -> None:
    ran = cli("deadletter", *arguments)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert why in ran.err
