"""The questions of an audit, as commands: right before merges, and changes by hand are found."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.cli.main import main
from app.directory.facts import Access, Statement
from app.sandbox.toml import render_toml
from tests.workers.ledger.conftest import ORIGIN, Command, Told
from workers.access.statements.quoting import quote_literal
from workers.ledger.rows import ms

SECOND = timedelta(seconds=1)


@pytest.fixture
def audit(command: Command) -> Command:
    """Run `audit …` of the tenant, or `access show …`."""

    async def run(*words: str) -> tuple[int, Any, str]:
        return await command("access" if words[0] == "show" else "audit", *words)

    return run


def access(
    user: str, at: datetime, *roles: str, state: Any = "active", explained: tuple[str, ...] = ()
) -> Access:
    return Access(
        id=f"main/{user}/1/{ms(at)}",
        target="main",
        user=user,
        resource=f"id-{user}",
        seq=1,
        state=state,
        roles=tuple(sorted(roles)),
        explained=explained or tuple(sorted(roles)),
        at_ms=ms(at),
    )


async def test_events_are_found_by_person_request_and_token(told: Told, audit: Command) -> None:
    ana, bo = await told.user("Ana@acme.example"), await told.user("bo")
    await told.group("G", ana)
    await told.write()
    code, found, _ = await audit("events", told.tenant)
    assert (code, [row["seq"] for row in found]) == (0, [1, 2, 3])
    assert found[0]["after"]["userName"] == "Ana@acme.example"
    for who in ("ana@acme.example", ana):
        _, found, _ = await audit("events", told.tenant, "--user", who)
        assert [row["seq"] for row in found] == [1, 3]
    _, found, _ = await audit("events", told.tenant, "--user", bo, "--request-id", "req-1")
    assert [row["seq"] for row in found] == [2]
    assert (await audit("events", told.tenant, "--request-id", "another"))[1] == []
    _, found, _ = await audit("token", told.tenant, "tok-1")
    assert [row["members_added"] for row in found] == [0, 0, 1]


async def test_a_limit_is_kept_and_told(told: Told, audit: Command) -> None:
    for number in range(3):
        await told.user(f"u{number}")
    await told.write()
    code, found, said = await audit("events", told.tenant, "--limit", "2")
    assert (code, len(found)) == (0, 2)
    assert "first 2" in said


async def test_a_person_is_told_from_the_request_to_the_statement(
    told: Told, audit: Command
) -> None:
    ana = await told.user("ana")
    statement = Statement(
        id="q-1",
        version=2,
        target="main",
        epoch=1,
        seqs=(1,),
        requests=("req-1",),
        users=("acme__ana",),
        resources=(ana,),
        roles=(),
        action="Create",
        text="CREATE USER `acme__ana`",
        at_ms=ms(datetime.now(UTC)) + 5,
        result="done",
    )
    await told.facts.record(told.tenant, [statement])
    await told.write()
    for who in ("ana", ana):
        _, rows, _ = await audit("person", told.tenant, who)
        assert [(row["what"], row["request"]) for row in rows] == [
            ("event", "req-1"),
            ("statement", "req-1"),
        ]
    _, rows, _ = await audit("statements", told.tenant, "--user", "ana", "--result", "done")
    assert [row["query_id"] for row in rows] == ["q-1"]


async def test_what_was_held_at_a_time_is_what_a_model_says(told: Told, audit: Command) -> None:
    rng, began = random.Random(3), datetime(2026, 1, 1, tzinfo=UTC)
    held: dict[str, set[str]] = {}
    moments: list[tuple[datetime, dict[str, set[str]]]] = []
    facts = []
    for number in range(120):
        at = began + timedelta(minutes=number)
        user = rng.choice(["ana", "bo", "cy", "di"])
        roles = set(rng.sample(["r1", "r2", "r3"], rng.randint(0, 3)))
        state = rng.choice(["active", "active", "locked", "gone"])
        held[user] = roles if state == "active" else set()
        facts.append(access(user, at, *(roles if state == "active" else ()), state=state))
        moments.append((at, {name: set(of) for name, of in held.items()}))
    rng.shuffle(facts)  # whatever order they are written in
    await told.facts.record(told.tenant, facts[:60])
    await told.write()
    await told.facts.record(told.tenant, facts[40:])  # some of them twice
    await told.write()
    for at, model in rng.sample(moments, 8):
        _, rows, _ = await audit("show", told.tenant, "--at", (at + SECOND).isoformat())
        assert {(r["user"], r["role"]) for r in rows} == {(u, r) for u in model for r in model[u]}
        for role in ("r1", "r2"):
            words = ("--role", role, "--at", (at + SECOND).isoformat())
            _, rows, _ = await audit("holders", told.tenant, *words)
            assert {row["user"] for row in rows} == {u for u, of in model.items() if role in of}


async def test_access_that_nobodys_group_explains_is_listed(told: Told, audit: Command) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    await told.facts.record(
        told.tenant,
        [access("ana", at, "analyst", "foreign", explained=("analyst",)), access("bo", at, "x")],
    )
    await told.write()
    _, rows, _ = await audit("unexplained", told.tenant)
    assert [(row["user"], row["role"]) for row in rows] == [("ana", "foreign")]


async def test_leavers_are_told_with_how_long_their_access_outlived_them(
    told: Told, audit: Command
) -> None:
    before = datetime.now(UTC)
    people = [await told.user(f"u{number}") for number in range(4)]
    facts = [_held_by(i, before, "active") for i in people]
    for person in people[:3]:
        await told.set_user(person, active=False)
    await told.write()
    left = {e.resource_id: e.at_ms for e in await told.events() if e.left}
    for second, person in enumerate(people[:2], 1):
        at = datetime.fromtimestamp(left[person] / 1000 + second, UTC)
        facts.append(_held_by(person, at, "locked"))
    await told.facts.record(told.tenant, facts)
    await told.write()
    code, told_of, _ = await audit("leavers", told.tenant, "--from", "2026-01-01")
    assert code == 0
    assert (told_of["revocations"], told_of["still_there"], told_of["longest"]) == (2, 1, 2.0)
    seconds = {row["resource_id"]: row["seconds"] for row in told_of["leavers"]}
    assert seconds == {people[0]: 1.0, people[1]: 2.0, people[2]: None}


def _held_by(resource: str, at: datetime, state: Any) -> Access:
    return Access(
        id=f"main/{resource}/1/{ms(at)}",
        target="main",
        user=f"name-{resource}",
        resource=resource,
        seq=1,
        state=state,
        roles=(),
        explained=(),
        at_ms=ms(at),
    )


CHANGES = {
    "a document": "UPDATE after = replaceAll(after, 'u1', 'ux') WHERE seq = 2",
    "a name": "UPDATE name = 'x' WHERE seq = 2",
    "a time": "UPDATE op = 'deleted' WHERE seq = 2",
    "a hash": f"UPDATE hash = '{'0' * 64}' WHERE seq = 2",
    "a row that is gone": "DELETE WHERE seq = 2",
    "the last row that is gone": "DELETE WHERE seq = 4",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
async def test_one_row_that_is_changed_by_hand_is_found(
    change: str, told: Told, audit: Command
) -> None:
    for number in range(4):
        await told.user(f"u{number}")
    await told.write()
    code, (row,), _ = await audit("verify", told.tenant)
    assert (code, row["ok"], row["events"], row["problems"]) == (0, True, 4, [])
    change, _, where = change.partition(" WHERE ")
    await told.store.query(
        f"ALTER TABLE events {change} WHERE tenant = {quote_literal(told.tenant)} AND {where}"
        " SETTINGS mutations_sync = 2"
    )
    code, (row,), said = await audit("verify", told.tenant)
    assert (code, row["ok"]) == (1, False)
    assert row["problems"]
    assert told.tenant in said


async def test_a_chain_that_was_made_anew_does_not_end_as_redis_remembers(
    told: Told, audit: Command
) -> None:
    await told.user("u")
    await told.write()
    await told.rewind(head="0" * 64)
    code, (row,), _ = await audit("verify", told.tenant)
    assert (code, row["problems"][0]["seq"]) == (1, 1)


async def test_a_person_is_erased_and_the_chain_still_holds(told: Told, audit: Command) -> None:
    name = "ana.planted@acme.example"
    ana = await told.user(name, displayName="Planted Person")
    await told.user(f"h{name}")  # somebody else, whose name holds this one
    await told.facts.record(told.tenant, [_statement_about(ana, name, f"h{name}")])
    await told.write()
    code, _, said = await audit("erase", told.tenant, name, "--yes")
    assert code == 1
    assert "have the identity provider delete them first" in said
    await told.directory.delete("user", ana, ORIGIN)
    await told.write()
    code, done, _ = await audit("erase", told.tenant, name, "--yes")
    assert (code, done["ids"], done["events"], done["statements"]) == (0, [ana], 2, 1)
    await told.write()
    for table in ("events", "statements", "access", "admin_actions"):
        text = await told.rows(table, "arrayStringConcat(groupArray(toString(tuple(*))))")
        assert "Planted" not in text
        assert name not in text.replace(f"h{name}", ""), table
    code, (row,), _ = await audit("verify", told.tenant)
    assert (code, row["erased"], row["problems"]) == (0, 2, [])
    _, actions, _ = await audit("actions", told.tenant)
    assert [(one["action"], one["subject"]) for one in actions] == [("person.erased", ana)]
    code, _, said = await audit("erase", told.tenant, name, "--yes")
    assert code == 1
    assert "knows nobody" in said


def _statement_about(resource: str, *names: str) -> Statement:
    quoted = ", ".join(f"`{name}`" for name in names)
    return Statement(
        id="q-1",
        version=2,
        target="main",
        epoch=1,
        seqs=(1,),
        requests=(),
        users=names,
        resources=(resource,),
        roles=("r",),
        action="Grant",
        text=f"GRANT `r` TO {quoted}",
        at_ms=1_700_000_000_000,
        result="done",
    )


async def test_without_a_ledger_the_command_says_what_to_add(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "scim.toml"
    config.write_text(
        render_toml(
            {
                "redis": {"url": "redis://127.0.0.1:1/0"},
                "targets": {"main": {"hosts": ["127.0.0.1:1"]}},
                "tenants": {"acme": {"targets": ["main"]}},
            }
        )
    )
    assert await asyncio.to_thread(main, ["audit", "events", "--config", str(config)]) == 2
    assert capsys.readouterr().err == "ledger: is missing; add [ledger] with its url\n"
