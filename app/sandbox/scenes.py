"""The scenes of the demo: what is done, through whose eyes it is seen, and what has to hold."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import redis.asyncio

from app.config.environment import process_environ
from app.config.load import load
from app.sandbox import demo_data
from app.sandbox.cast import Expected, load_cast
from app.sandbox.observed import TenantView, differences, observe
from app.sandbox.player import Player, Report
from app.sandbox.running import Sandbox
from app.sandbox.session import Refused, Session, log_in
from app.sandbox.story import Story, day_of, load_chain, load_story
from app.sandbox.telling import Teller

# One tenant for each identity provider, both on one target.
TENANTS = {"acme": "Okta", "globex": "Microsoft Entra ID"}
OKTA, ENTRA = TENANTS

APPLY_DEADLINE_S = 30.0

ORDERS = "SELECT country, sum(eur) AS eur FROM analytics.orders GROUP BY country ORDER BY eur DESC"
INVOICES = "SELECT count(), sum(eur) FROM finance.invoices"
PAYROLL = "SELECT employee, eur FROM finance.payroll"
CUSTOMERS = "SELECT name, country FROM crm.customers ORDER BY name"
ADDRESSES = "SELECT name, email FROM crm.customers ORDER BY name"

ACCESS_DENIED = 497
AUTHENTICATION_FAILED = 516

Holdings = Mapping[str, Expected]


class Stage:
    """What every scene needs: somebody who plays, somebody who looks, somebody who tells."""

    def __init__(self, teller: Teller, sandbox: Sandbox, url: str, administrator: Session) -> None:
        self.tell = teller
        self.sandbox = sandbox
        self.url = url
        self.administrator = administrator
        settings = load(Path(sandbox.line.config), process_environ())
        self.views = {name: TenantView(name, settings.tenants[name]) for name in TENANTS}
        self.casts = {name: load_cast() for name in TENANTS}
        self.reports: list[Report] = []
        self.last_seq: dict[str, int] = {}
        self.players = {
            name: Player(endpoint.base_url, endpoint.token, self.casts[name])
            for name, endpoint in sandbox.line.scim.items()
        }

    async def send(self, tenant: str, stories: Sequence[Story]) -> Report:
        """Play the stories and wait until the target has them all, as its lane says."""
        with self.tell.progress() as show:
            report = await self.players[tenant].play(stories, progress=show)
        self.reports.append(report)
        self.last_seq[tenant] = report.last_seq
        for failure in report.failures[:3]:
            self.tell.check(False, "the receiver answers as the stories expect", str(failure))
        await self.sandbox.wait_applied(tenant, report.last_seq, APPLY_DEADLINE_S)
        return report

    async def holdings(self, tenant: str) -> Holdings:
        """Return what the tenant's users hold on the target at this moment."""
        return self.views[tenant].managed(await observe(self.administrator))

    def user(self, tenant: str, key: str) -> str:
        """Return what somebody of the cast is called on ClickHouse at this moment."""
        cast = self.casts[tenant]
        person = cast.people.get(key) or cast.joiners[key]
        return self.views[tenant].user(person.user_name)

    async def may(self, window: Session, sql: str) -> None:
        """Check that the query runs for whoever this window belongs to; show its rows."""
        try:
            rows = await window.rows(sql)
        except Refused as refused:
            self.tell.check(False, f"{window.user} may: {sql}", str(refused))
            return
        self.tell.check(True, f"{window.user} may: {sql}")
        self.tell.quote("  ".join(" ".join(map(str, row)) for row in rows))

    async def may_not(self, window: Session, sql: str) -> None:
        """Check that the query is refused with 497; show the server's words."""
        try:
            rows = await window.rows(sql)
        except Refused as refused:
            self.tell.check(
                refused.code == ACCESS_DENIED, f"{window.user} may not: {sql}", str(refused)
            )
            self.tell.quote(str(refused))
        else:
            self.tell.check(False, f"{window.user} may not: {sql}", f"{len(rows)} rows came")

    async def stays_out(self, user: str) -> None:
        """Check that a new log-in is refused with 516; show the server's words."""
        try:
            async with log_in(self.url, user) as window:
                await window.rows("SELECT 1")
        except Refused as refused:
            self.tell.check(
                refused.code == AUTHENTICATION_FAILED, f"{user} cannot log in", str(refused)
            )
            self.tell.quote(str(refused))
        else:
            self.tell.check(False, f"{user} cannot log in", "the log-in succeeded")

    def compare(self, tenant: str, seen: Holdings, but: Collection[str] = ()) -> None:
        """Check that the target holds what follows from the groups, for everybody of the tenant."""
        wanted = self.views[tenant].expected(self.casts[tenant])
        wanted = {name: held for name, held in wanted.items() if name not in but}
        wrong = differences(wanted, seen)
        locked = sum(held.state == "locked" for held in seen.values())
        grants = sum(len(held.roles) for held in seen.values())
        self.tell.check(
            not wrong,
            f"{len(seen)} users of {tenant}, {locked} of them locked, with {grants} roles in all:"
            f" {len(wanted) - len(wrong)} of {len(wanted)} hold what their groups give",
            "\n".join(wrong[:5]),
        )

    async def shown(self, statements: Sequence[str]) -> list[str]:
        """Return what the administrator is shown, a line for each row."""
        return [
            str(text)
            for statement in statements
            for (text,) in await self.administrator.rows(statement)
        ]


class Day(Stage):
    """The scenes, in the order in which they build on each other."""

    async def play(self) -> None:
        await self.what_is_running()
        by_hand, squatter = await self.before()
        await self.first_sync()
        await self.an_analyst()
        await self.movers()
        await self.leavers()
        await self.another_name()
        await self.a_dead_letter()
        await self.a_second_identity_provider()
        await self.nothing_else(by_hand, squatter)
        await self.figures()

    async def what_is_running(self) -> None:
        self.tell.scene("What is running")
        line = self.sandbox.line
        ((version, users),) = await self.administrator.rows(
            "SELECT version(), (SELECT count() FROM system.users)"
        )
        self.tell.fact("ClickHouse", f"{version} at {self.url}, {users} users")
        client: redis.asyncio.Redis = redis.asyncio.from_url(  # type: ignore[no-untyped-call]
            line.redis, decode_responses=True
        )
        async with client:
            info = await client.info("server")
            kept = await client.config_get("append*")
        self.tell.fact(
            "Redis",
            f"{info['redis_version']} at {line.redis}, appendonly {kept['appendonly']},"
            f" appendfsync {kept['appendfsync']}",
        )
        ready = line.metrics.removesuffix("/metrics") + "/readyz"
        async with aiohttp.ClientSession() as http, http.get(ready) as answer:
            self.tell.fact("Receiver", f"GET {ready} answers {answer.status}")
        for name, endpoint in line.scim.items():
            self.tell.fact(f"Tenant {name}", f"{endpoint.base_url} for {TENANTS[name]}")

    async def before(self) -> tuple[list[str], list[str]]:
        """Make tables and accounts by hand; return how the server shows the accounts."""
        self.tell.scene("Before: tables, and accounts that the administrator made by hand")
        squat = demo_data.SQUATTER
        for statement in (*demo_data.TABLES, *demo_data.BY_HAND, *squat.make):
            await self.administrator.rows(statement)
        for statement, rows in demo_data.ROWS.items():
            await self.administrator.insert(statement, rows)
        by_hand, squatter = await self.shown(demo_data.SHOWN), await self.shown(squat.show)
        for text in (*by_hand, *squatter):
            self.tell.quote(text)
        managed = {name for tenant in TENANTS for name in await self.holdings(tenant)}
        self.tell.check(
            not managed,
            f"{len(managed)} users are managed by ClickHouse SCIM so far",
            ", ".join(sorted(managed)),
        )
        return by_hand, squatter

    async def first_sync(self) -> None:
        self.tell.scene("Okta's first sync: 200 people and 12 groups")
        before = await self.holdings(OKTA)
        report = await self.send(OKTA, load_chain("okta_first_sync"))
        self.tell.say(_pace(report))
        after = await self.holdings(OKTA)
        self.tell.table(("role", "before", "now", "for example"), _holders(before, after))
        self.compare(OKTA, after)

    async def an_analyst(self) -> None:
        self.tell.scene("What an analyst may do, and what she may not")
        async with log_in(self.url, self.user(OKTA, "ananya-iyer")) as window:
            await self.may(window, ORDERS)
            await self.may_not(window, PAYROLL)
        async with log_in(self.url, self.user(OKTA, "aisha-bello")) as window:
            self.tell.say("Sales may read some columns of a table:")
            await self.may(window, CUSTOMERS)
            await self.may_not(window, ADDRESSES)

    async def movers(self) -> None:
        self.tell.scene("Five people change groups; Okta sends whole groups each time")
        before = await self.holdings(OKTA)
        await self.send(OKTA, [load_story("okta_movers")])
        after = await self.holdings(OKTA)
        self.tell.table(("who", "lost", "gained", "holds now"), _moves(before, after))
        self.compare(OKTA, after)
        async with log_in(self.url, self.user(OKTA, "zoe-brule")) as window:
            await self.may(window, INVOICES)
            await self.may_not(window, ORDERS)

    async def leavers(self) -> None:
        self.tell.scene("Four people leave; one of them has a session open")
        tomas = self.user(OKTA, "tomas-dvorak")
        before = await self.holdings(OKTA)
        async with log_in(self.url, tomas) as window:
            await self.may(window, ORDERS)
            await self.send(OKTA, [load_story("okta_leavers")])
            self.tell.say("Deactivated. The session from before is still open:")
            await self.may_not(window, ORDERS)
        await self.stays_out(tomas)
        after = await self.holdings(OKTA)
        self.tell.table(("who", "lost", "gained", "holds now"), _moves(before, after))
        self.compare(OKTA, after)

        self.tell.scene("A group gets another name; one of the four is hired again")
        analysts = _with("analyst", after)
        await self.send(OKTA, [load_story("okta_group_rename")])
        still = _with("analyst", await self.holdings(OKTA))
        group = self.casts[OKTA].groups["data-analysts"]
        self.tell.check(
            still == analysts,
            f"{group.first_name} is now {group.display_name}: {len(analysts)} people held"
            f" analyst before, the same {len(still & analysts)} hold it after",
            ", ".join(sorted(still ^ analysts)),
        )
        await self.send(OKTA, [load_story("okta_rehire")])
        again = await self.holdings(OKTA)
        self.tell.check(
            again[tomas] == before[tomas],
            f"{tomas} holds {_told(again[tomas])} again, though nobody pushed his groups",
        )
        self.compare(OKTA, again)
        async with log_in(self.url, tomas) as window:
            await self.may(window, ORDERS)

    async def another_name(self) -> None:
        self.tell.scene("Somebody marries and changes her name")
        old = self.user(OKTA, "amelie-fournier")
        before = await self.holdings(OKTA)
        await self.send(OKTA, [load_story("okta_name_change")])
        after, new = await self.holdings(OKTA), self.user(OKTA, "amelie-fournier")
        self.tell.check(
            old not in after and after.get(new) == before[old],
            f"{old} is now {new} and holds {_told(after.get(new))}",
        )
        await self.stays_out(old)

    async def a_dead_letter(self) -> None:
        self.tell.scene("Three people join; the name of one is taken by an account made by hand")
        imogen = self.user(OKTA, "imogen-clarke")
        squat = demo_data.SQUATTER
        await self.send(OKTA, [load_story("okta_joiners")])
        held = await self.holdings(OKTA)
        self.compare(OKTA, held, but=[imogen])
        self.tell.check(imogen not in held, f"{imogen} is left as it is: no marker, no role")
        self.tell.say("clickhouse-scim deadletter list names it, and why:")
        letters = await self.sandbox.command_json("deadletter", "list")
        for letter in letters:
            self.tell.quote(_letter(letter))
        self.tell.check(
            [letter["name"] for letter in letters] == [imogen],
            f"{len(letters)} dead letter; the other joiners did not wait for it",
        )
        self.tell.say("The administrator renames the account made by hand, and replays:")
        self.tell.quote(squat.rename)
        await self.administrator.rows(squat.rename)
        ids = [str(letter["id"]) for letter in letters]
        replayed = await self.sandbox.command("deadletter", "replay", *ids)
        self.tell.check(
            replayed.code == 0,
            f"clickhouse-scim deadletter replay {' '.join(ids)} exits {replayed.code}",
            replayed.stderr.strip(),
        )
        left = await self.sandbox.command_json("deadletter", "list")
        held = await self.holdings(OKTA)
        self.tell.check(
            not left and imogen in held,
            f"{imogen} holds {_told(held.get(imogen))}; {len(left)} dead letters are left",
        )
        self.compare(OKTA, held)

    async def a_second_identity_provider(self) -> None:
        self.tell.scene("Meanwhile at another tenant: Entra ID's whole day, the same 200 names")
        before = await self.holdings(OKTA)
        report = await self.send(ENTRA, day_of("entra", "default"))
        self.tell.say(_pace(report))
        self.compare(ENTRA, await self.holdings(ENTRA))
        self.tell.check(
            await self.holdings(OKTA) == before, f"not one user or role of {OKTA} has changed"
        )

        self.tell.scene(f"Okta pushes every group of {OKTA} again, then unlinks one")
        last = self.last_seq[OKTA]
        pushed = await self.send(OKTA, [load_story("okta_full_push")])
        self.tell.check(
            pushed.last_seq == last,
            f"{pushed.writes} whole groups arrived; the last event was {last} and is"
            f" {pushed.last_seq}: nothing to do",
        )
        before = await self.holdings(OKTA)
        await self.send(OKTA, [load_story("okta_group_unlink")])
        after = await self.holdings(OKTA)
        lost, kept = _with("crm_reader", before), _with("crm_reader", after)
        self.tell.check(
            kept < lost,
            f"{len(lost)} people held crm_reader, {len(kept)} still do, through another group",
        )
        self.compare(OKTA, after)

    async def nothing_else(self, by_hand: list[str], squatter: list[str]) -> None:
        self.tell.scene("What was made by hand")
        now = await self.shown(demo_data.SHOWN)
        self.tell.check(
            now == by_hand,
            f"{len(now)} lines of SHOW CREATE and SHOW GRANTS are byte for byte as before",
            "\n".join(text for text in now if text not in by_hand),
        )
        squat = demo_data.SQUATTER
        renamed = await self.shown(squat.show_renamed)
        for text in renamed:
            self.tell.quote(text)
        self.tell.check(
            renamed == [text.replace(squat.name, squat.new_name) for text in squatter],
            f"{squat.new_name} is as it was, but for its name",
        )

    async def figures(self) -> None:
        self.tell.scene("Figures")
        sent = sum(report.sent for report in self.reports)
        seconds = sum(report.duration_s for report in self.reports)
        writes = sum(report.writes for report in self.reports)
        self.tell.fact("Requests", f"{sent}, {sent / seconds:.0f} a second; {writes} of them write")
        for name in TENANTS:
            for lane in await self.sandbox.lanes(name):
                self.tell.fact(
                    f"Lane {name}",
                    f"{lane.applied_seq} of {lane.last_seq} events applied on {lane.target},"
                    f" {lane.dead_letters} dead letters",
                )


def _pace(report: Report) -> str:
    return (
        f"{report.sent} requests in {report.duration_s:.1f} s,"
        f" {report.sent / report.duration_s:.0f} a second; {report.writes} writes,"
        f" the last one is event {report.last_seq}."
    )


def _told(held: Expected | None) -> str:
    if held is None:
        return "nothing"
    return "nothing (locked)" if held.state == "locked" else ", ".join(sorted(held.roles))


def _with(role: str, holdings: Holdings) -> set[str]:
    return {name for name, held in holdings.items() if role in held.roles}


def _holders(before: Holdings, after: Holdings) -> list[tuple[object, ...]]:
    """Return a row for each role: how many hold it, and a few of them."""
    roles = sorted({role for held in after.values() for role in held.roles})
    rows: list[tuple[object, ...]] = []
    for role in roles:
        holders = sorted(_with(role, after))
        some = ", ".join(holders[:2]) + (", …" if len(holders) > 2 else "")
        rows.append((role, len(_with(role, before)), len(holders), some))
    return sorted(rows, key=lambda row: (-int(str(row[2])), str(row[0])))


def _moves(before: Holdings, after: Holdings) -> list[tuple[object, ...]]:
    """Return a row for each user whose roles or state differ."""
    rows: list[tuple[object, ...]] = []
    for name in sorted(before.keys() | after.keys()):
        was, now = before.get(name), after.get(name)
        if was != now:
            had, has = (held.roles if held else frozenset[str]() for held in (was, now))
            lost, gained = (", ".join(sorted(roles)) for roles in (had - has, has - had))
            rows.append((name, lost, gained, _told(now)))
    return rows


def _letter(letter: Mapping[str, Any]) -> str:
    attempts = "1 attempt" if letter["attempts"] == 1 else f"{letter['attempts']} attempts"
    return (
        f"{letter['id']}  {letter['tenant']} on {letter['target']}, {letter['resource_type']}"
        f" {letter['name']}, {attempts}: {letter['error']}"
    )
