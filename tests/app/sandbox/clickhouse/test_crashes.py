"""What survives: an acknowledged access statement does, whatever happens to the process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from asynch.errors import NetworkError, OperationalError

from app.sandbox.clickhouse.tokens import render_name, render_text

if TYPE_CHECKING:
    from tests.app.sandbox.clickhouse.conftest import OwnServer, Sql

STATE = [
    "CREATE DATABASE d",
    "CREATE ROLE reader SETTINGS max_threads = 3",
    "CREATE ROLE writer, empty",
    "GRANT SELECT ON *.* TO reader",
    "REVOKE SELECT ON system.* FROM reader",
    "GRANT INSERT(a, b), SELECT(a) ON d.t TO writer WITH GRANT OPTION",
    "GRANT reader TO writer WITH ADMIN OPTION",
    "CREATE SETTINGS PROFILE calm SETTINGS max_memory_usage = 1000000 MIN 1 MAX 2000000 TO reader",
    "CREATE USER `it's me` IDENTIFIED BY 'sha' HOST IP '10.0.0.0/8', LOCAL DEFAULT DATABASE d",
    """CREATE USER ana IDENTIFIED WITH plaintext_password BY 'plain' VALID UNTIL '2090-01-01',
    bcrypt_password BY 'bc', ldap SERVER 'corp' DEFAULT ROLE reader SETTINGS PROFILE calm,
    max_rows_to_read = 5 CONST GRANTEES reader""",
    "CREATE USER bo IDENTIFIED WITH double_sha1_password BY 'sha1'",
    "ALTER USER ana GRANTEES bo EXCEPT `it's me`",
    "GRANT writer, reader TO bo, `it's me`",
    "SET DEFAULT ROLE writer TO bo",
    "ALTER USER bo ADD IDENTIFIED WITH scram_sha256_password BY 'scram'",
    "CREATE QUOTA fair KEYED BY user_name FOR INTERVAL 1 hour MAX queries = 9000 TO bo, reader",
    "CREATE ROW POLICY own ON d.t FOR SELECT USING who = currentUser() TO ALL EXCEPT ana",
    "CREATE USER gone IDENTIFIED BY 'x'",
    "DROP USER gone",
    "GRANT ROLE ADMIN ON *.* TO bo",
    "CREATE USER ssh IDENTIFIED WITH ssh_key BY KEY 'AAAA' TYPE 'ssh-rsa'",
    "ALTER USER bo RENAME TO `bo 2`",
    "EXECUTE AS `bo 2` GRANT empty TO CURRENT_USER",
]
LOG_INS = [("it's me", "sha"), ("ana", "plain"), ("ana", "bc"), ("bo 2", "sha1"), ("bo 2", "scram")]


async def state(sql: Sql) -> list[str]:
    return [line for (line,) in await sql("SHOW ACCESS")]


async def assert_log_ins(sql: Sql) -> None:
    for user, password in LOG_INS:
        assert await sql("SELECT 1", user=user, password=password) == [(1,)]
    for user in ("it's me", "ana", "bo 2", "ssh", "gone"):
        assert await sql.code("SELECT 1", user=user, password="wrong") == 516


async def make_state(sql: Sql) -> list[str]:
    for statement in STATE:
        await sql(statement)
    return await state(sql)


async def test_everything_is_back_after_a_kill(own_server: OwnServer) -> None:
    before = await make_state(own_server.start())
    own_server.kill()
    sql = own_server.start()
    assert await state(sql) == before
    await assert_log_ins(sql)
    own_server.kill()
    assert await state(own_server.start()) == before


async def test_everything_is_back_after_a_compaction(own_server: OwnServer) -> None:
    """CURRENT GRANTS depend on who asks, so such a statement is kept as the state that it left."""
    sql = own_server.start()
    await make_state(sql)
    await sql("GRANT CURRENT GRANTS(SELECT ON d.*) TO empty")
    before = await state(sql)
    own_server.kill()
    text = (own_server.data_dir / "access.journal").read_bytes()
    assert b"CURRENT GRANTS" not in text
    sql = own_server.start()
    assert await state(sql) == before
    await assert_log_ins(sql)


NAMES = [
    "it's",
    'say "hi"',
    "back`tick",
    "b\\slash",
    "\\",
    "new\nline\r\ttab",
    "nul\0bell\x07del\x7f",
    "日本語 é a\u0301 😀 \u202e \ufeff",
    "`; DROP USER x; --",
    "' OR 1 = 1 /*",
    "$$x$$ {p:Identifier} %s %(x)s",
    "a@'%'",
    "bob@example.com",
    " between spaces ",
    "a, b",
    "“smart” \u2018quotes\u2019",
    "x" * 500,
    *("to", "from", "with", "on", "none", "any", "current_user", "CURRENT_USER", "all", "except"),
    *("settings", "grantees", "identified", "host", "database", "role", "user", "policy", "table"),
]


@pytest.mark.parametrize("compacted", [False, True], ids=["replayed", "compacted"])
async def test_names_are_literal_whatever_happens(own_server: OwnServer, compacted: bool) -> None:
    """As users, roles, databases, grantees and policies; those that look like keywords, too."""
    sql = own_server.start()
    session = sql.connect()
    await session.connect()
    for text in NAMES:
        name, role, db = render_name(text), render_name(f"{text} r"), render_name(text[:50])
        table = f"{db}.{name}"
        for statement in (
            f"CREATE USER {render_name(text + ' old')} IDENTIFIED BY {render_text(text)}",
            f"ALTER USER {render_name(text + ' old')} RENAME TO {name}",
            f"CREATE ROLE {name}, {role}",
            f"GRANT {name} TO {name} WITH ADMIN OPTION",
            f"GRANT {role} TO {name}",
            f"GRANT SELECT ON {table} TO {name} WITH GRANT OPTION",
            f"ALTER USER {name} DEFAULT ROLE {role} SETTINGS max_threads = 2 GRANTEES {name}",
            f"CREATE ROW POLICY {name} ON {table} USING any = {name} TO {name}",
        ):
            await sql.on(session, statement)
    await session.close()
    await sql("CREATE DATABASE `none`")
    await sql("ALTER USER `none` DEFAULT DATABASE `none`")
    if compacted:
        await sql("GRANT CURRENT GRANTS(SELECT ON system.one) TO `to r`")
    before = await state(sql)
    own_server.kill()
    sql = own_server.start()
    assert await state(sql) == before
    for text in NAMES:
        ask = "SELECT currentUser(), currentRoles()"
        ((current, roles),) = await sql(ask, user=text, password=text)
        assert (current, roles) == (text, [f"{text} r"])
    names = ", ".join(render_name(name) for name in NAMES)
    await sql(f"DROP USER {names}")
    assert await sql("SHOW USERS") == [("default",)]


async def test_tables_and_databases_are_back_after_a_kill(own_server: OwnServer) -> None:
    sql = own_server.start()
    await sql("CREATE DATABASE shop")
    await sql("CREATE TABLE shop.t (a UInt32, b String) ENGINE = MergeTree ORDER BY a")
    await sql("INSERT INTO shop.t VALUES", [(i, str(i)) for i in range(1000)])
    own_server.kill()
    assert await own_server.start()("SELECT count(), sum(a) FROM shop.t") == [(1000, 499500)]


async def test_a_deadline_counted_from_now_is_the_same_after_a_kill(own_server: OwnServer) -> None:
    sql, ask = own_server.start(), "SELECT name, valid_until FROM system.users ORDER BY name"
    await sql("CREATE USER brief IDENTIFIED BY 'x' VALID FOR INTERVAL 1 HOUR")
    before = await sql(ask)
    own_server.kill()
    assert await own_server.start()(ask) == before


async def test_a_statement_beyond_the_usual_size_is_back_after_a_kill(
    own_server: OwnServer,
) -> None:
    sql = own_server.start()
    names = ", ".join(f"`{'n' * 200}{i}`" for i in range(1500))
    assert len(names) > 262_144
    assert await sql.code(f"CREATE USER {names}") == 62
    assert await sql.code(f"CREATE USER {names}", settings={"max_query_size": 400_000}) is None
    own_server.kill()
    assert await own_server.start()("SELECT count() FROM system.users") == [(1501,)]


HALF_DONE = {  # what stops half-way, and what is there afterwards
    "create": (["CREATE USER b"], "CREATE USER a, b, c", 493),
    "create roles": (["CREATE ROLE b"], "CREATE ROLE a, b, c", 493),
    "drop twice": (["CREATE USER x, y"], "DROP USER x, x, y", 492),
    "grantees": ([], "CREATE USER a IDENTIFIED BY 'x' GRANTEES missing", 511),
    "default role": (
        ["CREATE ROLE r", "CREATE USER u1, u2, u3", "GRANT r TO u1, u3"],
        "SET DEFAULT ROLE r TO u1, u2, u3",
        512,
    ),
    "rename onto another": (["CREATE USER u1, u2"], "ALTER USER u1 RENAME TO u2", 493),
}


@pytest.mark.parametrize(("before", "statement", "code"), HALF_DONE.values(), ids=HALF_DONE.keys())
async def test_what_a_failed_statement_did_is_kept(
    own_server: OwnServer, before: list[str], statement: str, code: int
) -> None:
    sql = own_server.start()
    for step in before:
        await sql(step)
    assert await sql.code(statement) == code
    there = await state(sql)
    own_server.kill()
    sql = own_server.start()
    assert await state(sql) == there
    if "IDENTIFIED" in statement:
        assert await sql("SELECT 1", user="a", password="x") == [(1,)]


async def test_what_could_not_be_written_down_is_kept_with_the_next_change(
    own_server: OwnServer,
) -> None:
    """A change that reached the engine and not the disk is never acknowledged, but seen."""
    sql = own_server.start()
    await sql("CREATE ROLE r")
    obstacle = own_server.data_dir / "access.new"
    obstacle.mkdir()
    with pytest.raises((OperationalError, EOFError)):
        await sql("GRANT CURRENT GRANTS(SELECT ON d.*) TO r")  # keeps the whole state
    obstacle.rmdir()
    await sql("CREATE USER after")
    before = await state(sql)
    assert "GRANT SELECT ON d.* TO r" in before
    own_server.kill()
    assert await state(own_server.start()) == before


async def test_no_acknowledged_statement_is_lost_in_a_kill(own_server: OwnServer) -> None:
    """Killed in the middle of a thousand: none that was acknowledged is gone, none is half."""
    sql = own_server.start()
    await sql("CREATE ROLE granted")
    acknowledged: list[int] = []

    async def work(start: int) -> None:
        async with sql.connect() as session:
            for i in range(start, 1000, 4):
                await sql.on(session, f"CREATE USER u{i} IDENTIFIED BY 'p{i}' DEFAULT ROLE granted")
                acknowledged.append(i)

    async with asyncio.TaskGroup() as tasks:
        workers = [tasks.create_task(expect_a_break(work(start))) for start in range(4)]
        while len(acknowledged) < 400:  # noqa: ASYNC110  until the moment is there
            await asyncio.sleep(0.001)
        own_server.kill()
    assert all(worker.done() for worker in workers)
    assert len(acknowledged) < 1000
    sql = own_server.start()
    users = {name for (name,) in await sql("SELECT name FROM system.users")} - {"default"}
    holders = {name for (name,) in await sql("SELECT user_name FROM system.role_grants")}
    assert {f"u{i}" for i in acknowledged} <= users
    assert len(users) <= len(acknowledged) + 4
    assert holders == users
    last = acknowledged[-1]
    assert await sql("SELECT 1", user=f"u{last}", password=f"p{last}") == [(1,)]


async def expect_a_break(work: object) -> None:
    with contextlib.suppress(OSError, OperationalError, NetworkError, EOFError):
        await work  # type: ignore[misc]


async def test_a_torn_tail_is_cut_off(own_server: OwnServer) -> None:
    sql = own_server.start()
    await sql("CREATE USER whole")
    own_server.kill()
    journal = own_server.data_dir / "access.journal"
    content = journal.read_bytes()
    journal.write_bytes(content + content[-20:-3])
    sql = own_server.start()
    assert await sql("SELECT name FROM system.users WHERE name != 'default'") == [("whole",)]
    await sql("CREATE USER after")
    own_server.kill()
    assert len(await own_server.start()("SHOW USERS")) == 3


async def test_five_thousand_users_are_back_within_a_second(own_server: OwnServer) -> None:
    sql = own_server.start()
    async with sql.connect() as session:
        roles = ", ".join(f"role{i}" for i in range(200))
        await sql.on(session, f"CREATE ROLE {roles}")
        for i in range(200):
            users = [f"`user{n}@acme.example`" for n in range(25 * i, 25 * i + 25)]
            alone = i >= 160  # a thousand users by a statement each
            for names in users if alone else [", ".join(users)]:
                await sql.on(session, f"CREATE USER {names} IDENTIFIED BY 'p'")
            await sql.on(session, f"GRANT role{i} TO {', '.join(users)}")
            if i == 100:
                await sql.on(session, "GRANT CURRENT GRANTS(SELECT ON d.*) TO role0")  # compacts
    before = await state(sql)
    own_server.kill()
    empty_s = cpu_s(type(own_server)(own_server.data_dir.parent / "empty"))
    assert cpu_s(own_server) - empty_s < 1
    assert await state(own_server.start()) == before


def cpu_s(server: OwnServer) -> float:
    """Start and kill the server; return how long it computed, however busy the machine is.

    /proc/PID/stat has user and system time in its fields 14 and 15, in ticks (proc(5)).
    """
    server.start()
    assert server.process is not None
    text = Path(f"/proc/{server.process.pid}/stat").read_text()
    server.kill()
    user, system = text.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


async def test_the_journal_does_not_grow_with_history(own_server: OwnServer) -> None:
    sql = own_server.start()
    await sql("CREATE USER u")
    async with sql.connect() as session:
        for i in range(1700):
            await sql.on(session, f"ALTER USER u SETTINGS max_threads = {i + 1}")
    assert (own_server.data_dir / "access.journal").stat().st_size < 1700 * 60
    before = await state(sql)
    own_server.kill()
    assert await state(own_server.start()) == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_cleanly_even_in_the_middle_of_a_query(
    own_server: OwnServer, number: signal.Signals
) -> None:
    sql = own_server.start()
    await sql("CREATE USER kept")
    slow = asyncio.create_task(
        expect_a_break(sql("SELECT count() FROM numbers(1000000000000) WHERE NOT ignore(number)"))
    )
    while await sql("SELECT count() FROM system.processes") != [(2,)]:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert own_server.process is not None
    own_server.process.send_signal(number)
    assert await asyncio.to_thread(own_server.end) == 0
    await slow
    assert "Traceback" not in own_server.log.read_text()
    assert await own_server.start()("SHOW USERS") == [("default",), ("kept",)]


async def test_its_files_are_its_owners_alone(own_server: OwnServer) -> None:
    sql = own_server.start()
    await sql("CREATE USER u IDENTIFIED BY 'the password'")
    for path in (own_server.data_dir, *own_server.data_dir.rglob("*")):
        if not path.is_symlink():
            assert stat.S_IMODE(path.lstat().st_mode) & 0o077 == 0, path
    content = b"".join(p.read_bytes() for p in own_server.data_dir.rglob("*") if p.is_file())
    assert b"the password" not in content


def launch(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app.sandbox.clickhouse", *options],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_taken_port_is_told_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = launch("--port", port, "--data-dir", str(tmp_path / "d"))
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()[1:]
    assert line == (
        f"clickhouse sandbox: cannot listen on 127.0.0.1:{port}: Address already in use; "
        "choose another --port"
    )


async def test_a_directory_in_use_is_told_in_one_line(own_server: OwnServer) -> None:
    own_server.start()
    done = await asyncio.to_thread(launch, "--port", "0", "--data-dir", str(own_server.data_dir))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()[1:]
    assert line == (
        f"clickhouse sandbox: {own_server.data_dir} is in use by another process; "
        "stop it or choose another --data-dir"
    )


def test_a_missing_engine_is_told_in_one_line(tmp_path: Path) -> None:
    hide = tmp_path / "sitecustomize.py"
    hide.write_text(
        "import sys, importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'chdb' else find(name, *rest)\n"
    )
    done = launch("--port", "0", "--data-dir", str(tmp_path / "d"), PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.splitlines()[1:] == [
        "clickhouse sandbox: chdb not installed; run: pip install 'clickhouse-scim[sandbox]'"
    ]


def test_it_says_what_it_is_for(tmp_path: Path) -> None:
    done = launch("--port", "0", "--data-dir", "/proc/nowhere")
    assert done.returncode == 1
    assert "for development and tests" in done.stderr.splitlines()[0]
    assert done.stderr.splitlines()[1].startswith("clickhouse sandbox: cannot use /proc/nowhere")


def test_a_journal_that_is_damaged_is_refused(tmp_path: Path) -> None:
    (tmp_path / "access.journal").write_bytes(b"something else")
    done = launch("--port", "0", "--data-dir", str(tmp_path))
    assert done.returncode == 1
    assert "is not a journal of this server" in done.stderr.splitlines()[1]
