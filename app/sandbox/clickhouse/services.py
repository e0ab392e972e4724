"""What all sessions of a server share, and how it is put together."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from app.sandbox.clickhouse.access import Access
from app.sandbox.clickhouse.cluster import Cluster
from app.sandbox.clickhouse.conduct import Conduct
from app.sandbox.clickhouse.engine import Engine
from app.sandbox.clickhouse.engine_config import render_config
from app.sandbox.clickhouse.journal import Journal
from app.sandbox.clickhouse.keeper import Keeper
from app.sandbox.clickhouse.login import Doorkeeper
from app.sandbox.clickhouse.membership import Membership
from app.sandbox.clickhouse.query_log import QueryLog
from app.sandbox.clickhouse.running import Running
from app.sandbox.clickhouse.shared_journal import SharedJournal
from app.sandbox.clickhouse.switches import Switches

_logger = logging.getLogger(__name__)

_OWN_STORAGE, _SHARED_STORAGE = "local_directory", "replicated"
_BETWEEN_LOOKS_S = 0.01


@dataclass(frozen=True, slots=True)
class Services:
    """`cluster`: None where the server is in none."""

    engine: Engine
    access: Access
    doorkeeper: Doorkeeper
    running: Running
    log: QueryLog
    conduct: Conduct
    cluster: Cluster | None
    time_zone: str


def open_services(
    directory: Path, port: int, switches: Switches, membership: Membership | None, limit: int
) -> Services:
    """Start the engine and bring back what was kept. Blocks. Raises CannotStart.

    `port`: of the native protocol, as clients and the other nodes know the server.
    `limit`: how many queries may run at once, 0: any number.
    """
    journal: Journal | SharedJournal = Journal(directory / "access.journal")
    keeper = None
    if membership is not None:
        keeper = Keeper(membership.folder, membership.host)
        if membership.replicated:
            lag_s = membership.lag_s
            journal = SharedJournal(keeper, membership.hosts, lambda: switches.lag_s(lag_s))
    engine = Engine.start(
        directory / "engine",
        render_config(port, membership),
        _SHARED_STORAGE if journal.shared else _OWN_STORAGE,
    )
    access = Access(engine, journal, switches)
    access.restore()
    if journal.shared:
        _keep_at(access.follow, "replication")
    cluster = None
    if membership is not None and keeper is not None:
        cluster = Cluster(membership, keeper, engine, access)
        _keep_at(cluster.work, "ddl worker")
    running, log = Running(engine, limit), QueryLog(engine)
    _keep_at(log.flush_when_due, "query log")
    return Services(
        engine=engine,
        access=access,
        doorkeeper=Doorkeeper(engine, access),
        running=running,
        log=log,
        conduct=Conduct(switches, running, log),
        cluster=cluster,
        time_zone=engine.time_zone,
    )


def _keep_at(work: Callable[[], None], name: str) -> None:
    """Do some work again and again, on a thread that ends with the process."""

    def keep_at() -> None:
        while True:
            try:
                work()
            except Exception:
                _logger.exception("%s.failed", name)
            time.sleep(_BETWEEN_LOOKS_S)

    threading.Thread(target=keep_at, name=name, daemon=True).start()
