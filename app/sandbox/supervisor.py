"""The sandbox: Redis, ClickHouse servers, receiver and workers, started and kept running together.

What it owns: the children, and the files of its data directory. When it dies, the children die
(see `Child`); what they acknowledged is on disk, and the next start goes on from there.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.child import Child, Program
from app.config.load import check, read_tables
from app.config.overrides import Applied, apply, without_overrides
from app.config.settings import Settings
from app.directory import tokens
from app.directory.link import connect
from app.errors import ConfigError
from app.sandbox import redis, servers
from app.sandbox.configuration import (
    HEADER,
    Places,
    default_tables,
    placed,
    target_names,
)
from app.sandbox.installed import find_clickhouse
from app.sandbox.nodes import sandbox_nodes
from app.sandbox.ports import choose_ports
from app.sandbox.store import SandboxError, Store, opened
from app.sandbox.toml import render_toml

_START_S = 30.0
_POLL_S = 0.02
_CLIENTS_GRACE_S, _SERVERS_GRACE_S = 4.0, 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a sandbox is asked for. `config` rules out `tenants` and `targets`."""

    config: Path | None = None
    tenants: tuple[str, ...] = ("acme",)
    targets: int = 1
    workers: int = 1
    data_dir: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A sandbox in which everything answers. `line` is what `--json` prints."""

    line: Mapping[str, Any]
    logs: Path
    took_s: float


def run_sandbox(
    options: Options, environ: Mapping[str, str], announce: Callable[[Ready], None]
) -> int:
    """Run a sandbox until SIGTERM or SIGINT; `announce` is called once, when it is ready.

    Raises ConfigError, or SandboxError if it does not come up; nothing is left running then.
    """
    with opened(options.data_dir) as store:
        try:
            asyncio.run(_Sandbox(options, environ, store).run(announce))
        except ExceptionGroup as group:
            raise _first(group) from None
    return 0


def _first(group: ExceptionGroup) -> Exception:
    """Return the error that ended the tasks: the others were only cancelled for it."""
    first = group.exceptions[0]
    return _first(first) if isinstance(first, ExceptionGroup) else first


@dataclass(slots=True)
class _Children:
    """The running programs, by what they are to one another: clients are stopped first."""

    redis: list[Child] = field(default_factory=list)
    clickhouse: dict[str, Child] = field(default_factory=dict)
    receivers: list[Child] = field(default_factory=list)
    workers: list[Child] = field(default_factory=list)

    def clients(self) -> list[Child]:
        return [*self.receivers, *self.workers]

    def servers(self) -> list[Child]:
        return [*self.redis, *self.clickhouse.values()]


class _Sandbox:
    def __init__(self, options: Options, environ: Mapping[str, str], store: Store) -> None:
        self._options, self._environ, self._store = options, environ, store
        self._children, self._ready = _Children(), False
        self._tables = self._read()
        self._nodes = sandbox_nodes(self._tables.raw)
        self._existing = self._find_existing()
        started = [] if self._existing else self._servers()
        names = ["redis", "receiver", *(f"clickhouse.{name}" for name in started)]
        names += [f"clickhouse.{name}.http" for name in started]
        self._ports = choose_ports(names, store.read("ports"), random.Random())  # noqa: S311
        store.write("ports", self._ports)
        self._places = Places(
            redis_url=f"redis://127.0.0.1:{self._ports['redis']}/0",
            receiver_port=self._ports["receiver"],
            targets={
                name: [self._existing]
                if self._existing
                else [servers.own_url(self._ports[f"clickhouse.{node}"]) for node in nodes.names]
                for name, nodes in self._nodes.items()
            },
            password_file=store.password,
        )
        self._password = store.provisioner_password()
        self._settings = self._write_config(self._tables)

    async def run(self, announce: Callable[[Ready], None]) -> None:
        started, loop, stop = time.monotonic(), asyncio.get_running_loop(), asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        async with asyncio.TaskGroup() as tasks:
            loop.add_signal_handler(
                signal.SIGHUP, lambda: tasks.create_task(self._reread(), name="reread")
            )
            starting = asyncio.create_task(self._start(tasks))
            stopping = asyncio.create_task(stop.wait())
            try:
                await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
                if starting.done():
                    await starting
                    self._ready = True
                    took = time.monotonic() - started
                    announce(Ready(line=self._line(), logs=self._store.logs, took_s=took))
                    await stopping
            finally:
                for task in (starting, stopping):
                    task.cancel()
                await asyncio.gather(starting, stopping, return_exceptions=True)
                loop.remove_signal_handler(signal.SIGHUP)
                await self._stop()

    async def _start(self, tasks: asyncio.TaskGroup) -> None:
        """Start everything at once, but for what needs an answer of another first."""
        if not self._existing:
            self._start_clickhouse(tasks)
        port = self._ports["redis"]
        server, folder = redis.find_redis(), self._store.folder_for("redis")
        program = redis.redis_program(server, port, folder, self._log("redis"))
        self._children.redis.append(self._keep(tasks, program))
        async with asyncio.TaskGroup() as steps:
            steps.create_task(self._start_receiver(tasks))
            steps.create_task(self._start_workers(tasks))

    def _servers(self) -> list[str]:
        """Return the names of all servers that the targets need."""
        return [name for nodes in self._nodes.values() for name in nodes.names]

    def _start_clickhouse(self, tasks: asyncio.TaskGroup) -> None:
        clickhouse, environ = find_clickhouse(self._environ), self._child_environ()
        for target, nodes in self._nodes.items():
            if clickhouse is not None and nodes.cluster is not None:
                raise SandboxError(
                    f"targets.{target} wants a cluster, which the sandbox makes of its own servers "
                    f"only; take {clickhouse} off PATH"
                )
            ports = [self._ports[f"clickhouse.{name}"] for name in nodes.names]
            keeper = self._store.folder_for(f"clickhouse/{target}.keeper")
            for name, port in zip(nodes.names, ports, strict=True):
                program = servers.server_program(
                    clickhouse,
                    name,
                    port,
                    self._ports[f"clickhouse.{name}.http"],
                    folder=self._store.folder_for(f"clickhouse/{name}"),
                    log=self._log(f"clickhouse-{name}"),
                    environ=environ,
                    options=nodes.arguments(ports, keeper),
                )
                self._children.clickhouse[name] = self._keep(tasks, program)

    async def _start_receiver(self, tasks: asyncio.TaskGroup) -> None:
        await self._until("Redis", "redis", lambda: redis.answers(self._ports["redis"]))
        self._children.receivers.append(self._keep(tasks, self._program("receiver", "receiver")))
        await self._ensure_tokens(self._settings)
        await self._until("the receiver", "receiver", self._receiver_answers)

    async def _start_workers(self, tasks: asyncio.TaskGroup) -> None:
        async with asyncio.TaskGroup() as steps:
            for name, urls in self._places.targets.items():
                for node, url in zip(self._nodes[name].names, urls, strict=False):
                    steps.create_task(self._provision(node, url))
        for number in range(1, self._options.workers + 1):
            program = self._program("worker", f"worker-{number}")
            self._children.workers.append(self._keep(tasks, program))
        await self._migrate()

    async def _provision(self, name: str, url: str) -> None:
        """Make the workers' account. A server that ran before is asked once, and says why not."""
        started = not self._existing
        if started:
            log = f"clickhouse-{name}"
            await self._until(f"ClickHouse {name}", log, lambda: servers.answers(url))
        statements = servers.provisioner_statements(self._password, local=started)
        await servers.run_statements(url, statements)
        if url == self._places.ledger:
            statements = servers.ledger_statements(self._password, local=started)
            await servers.run_statements(url, statements)

    async def _migrate(self) -> None:
        """Make the ledger's tables, or bring them up to date. Workers wait for them.

        A ledger that the file names may be down: nothing waits for that one.
        """
        if self._settings.ledger is None:
            return
        log = self._log("migrate")
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *self._command("migrate"), env=self._child_environ(), stdout=output, stderr=output
            )
            try:
                code = await process.wait()
            except asyncio.CancelledError:
                process.kill()
                raise
        if code and "ledger" not in self._tables.raw:
            raise SandboxError(f"the ledger has no tables{_last_line(log)}")
        if code:
            _say(f"the ledger has no tables yet{_last_line(log)}; run `clickhouse-scim migrate`")

    def _command(self, name: str) -> list[str]:
        options = ["--debug", name, "--config", str(self._store.config)]
        return [sys.executable, "-m", "app.cli.main", *options]

    def _program(self, command: str, name: str) -> Program:
        return Program(
            name=name,
            arguments=self._command(command),
            environ=self._child_environ(),
            log=self._log(name),
        )

    def _child_environ(self) -> dict[str, str]:
        """The overrides are in the written file already, and must not hide its Redis.

        An `app` in the working directory, somebody else's, is not imported (PYTHONSAFEPATH).
        """
        environ = servers.without_existing_server(without_overrides(self._environ))
        return {**environ, "PYTHONSAFEPATH": "1"}

    def _keep(self, tasks: asyncio.TaskGroup, program: Program) -> Child:
        child = Child(program, say=_say, changed=self._write_pids)
        tasks.create_task(child.run(), name=program.name)
        return child

    async def _until(self, what: str, log: str, answers: Callable[[], Awaitable[bool]]) -> None:
        try:
            async with asyncio.timeout(_START_S):
                while not await answers():  # noqa: ASYNC110 - another process tells no event
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            where = self._log(log)
            raise SandboxError(
                f"{what} did not answer within {_START_S:g} s{_last_line(where)}"
            ) from None

    async def _receiver_answers(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._ports["receiver"])
        except OSError:
            return False
        try:
            writer.write(b"GET /readyz HTTP/1.1\r\nHost: sandbox\r\nConnection: close\r\n\r\n")
            async with asyncio.timeout(5):
                return b" 200 " in await reader.readline()
        except (OSError, TimeoutError):
            return False
        finally:
            writer.close()

    async def _ensure_tokens(self, settings: Settings) -> None:
        """Make a token for each tenant that has none which Redis still knows."""
        known, now_ms = self._store.read("tokens"), time.time_ns() // 1_000_000
        link = connect(self._places.redis_url)
        try:
            for tenant in settings.tenants:
                credential = tokens.parse_authorization(f"Bearer {known.get(tenant)}")
                if credential is None or not await tokens.authenticate(
                    link, tenant, credential, now_ms
                ):
                    known[tenant] = (await tokens.create(link, tenant, now_ms=now_ms)).token
        finally:
            await link.close()
        self._store.write("tokens", known)

    async def _stop(self) -> None:
        """Stop the clients before the servers, so that nobody works against a closed door."""
        clients, others = self._children.clients(), self._children.servers()
        await asyncio.gather(*(child.stop(_CLIENTS_GRACE_S) for child in clients))
        await asyncio.gather(*(child.stop(_SERVERS_GRACE_S) for child in others))

    async def _reread(self) -> None:
        """Take over a changed --config FILE, then have receiver and workers reread theirs.

        A broken file, or one that would need servers which do not run, changes nothing.
        """
        if not self._ready:
            return
        try:
            tables = self._read()
            if self._options.config is not None and tables.raw != self._tables.raw:
                if sandbox_nodes(tables.raw) != self._nodes:
                    _say("targets without hosts were added or removed: restart the sandbox")
                    return
                settings = self._write_config(tables)
                await self._ensure_tokens(settings)
                self._tables, self._settings = tables, settings
        except ConfigError as error:
            for problem in error.problems:
                _say(f"configuration refused: {problem}")
            return
        for child in self._children.clients():
            child.send(signal.SIGHUP)

    def _read(self) -> Applied:
        if self._options.config is not None:
            return read_tables(self._options.config, self._environ)
        tables = default_tables(self._options.tenants, target_names(self._options.targets))
        return apply(tables, self._environ)

    def _find_existing(self) -> str | None:
        """Return the way into the server that CLICKHOUSE_URL names, if a target needs it."""
        existing = servers.existing_server(self._environ) if self._nodes else None
        if existing and len(self._servers()) > 1:
            raise SandboxError(
                f"CLICKHOUSE_URL is one server, but {', '.join(self._servers())} need one each; "
                "unset it, or run one target"
            )
        return existing

    def _write_config(self, tables: Applied) -> Settings:
        """Write what the children read, once it has no mistake. Raises ConfigError."""
        config = self._options.config
        folder = self._store.folder if config is None else config.parent.absolute()
        raw = placed(tables.raw, self._places, folder)
        settings = check(Applied(raw, tables.sources, tables.problems), self._environ, folder)
        self._store.write_text(self._store.config, HEADER + render_toml(raw))
        return settings

    def _write_pids(self) -> None:
        self._store.write("pids", self._pids())

    def _pids(self) -> dict[str, Any]:
        children = self._children
        return {
            "supervisor": os.getpid(),
            "receiver": [child.pid for child in children.receivers if child.pid],
            "worker": [child.pid for child in children.workers if child.pid],
            "redis": next((child.pid for child in children.redis), None),
            "clickhouse": dict.fromkeys(self._nodes)
            | {name: child.pid for name, child in children.clickhouse.items()},
        }

    def _line(self) -> dict[str, Any]:
        base, known = f"http://127.0.0.1:{self._ports['receiver']}", self._store.read("tokens")
        return {
            "scim": {
                tenant: {"base_url": f"{base}/scim/{tenant}/v2", "token": known[tenant]}
                for tenant in self._settings.tenants
            },
            "clickhouse": {
                node: url
                for name, urls in self._places.targets.items()
                for node, url in zip(self._nodes[name].names, urls, strict=False)
            },
            "clickhouse_http": {
                name: servers.own_http_url(self._ports[f"clickhouse.{name}.http"])
                for name in ([] if self._existing else self._servers())
            },
            "redis": self._places.redis_url,
            "metrics": f"{base}/metrics",
            "config": str(self._store.config),
            "pids": self._pids(),
        }

    def _log(self, name: str) -> Path:
        return self._store.logs / f"{name}.log"


def _say(text: str) -> None:
    sys.stderr.write(f"sandbox: {text}\n")
    sys.stderr.flush()


def _last_line(log: Path) -> str:
    """Return the last line of `log`, as the reason why a program did not come up."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        return ""
    said = next((line for line in reversed(lines) if line.strip()), None)
    return f"; it said: {said.strip()}" if said else ""
