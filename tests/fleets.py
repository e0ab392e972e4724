"""Redis Clusters and Sentinels of the server that the sandbox uses, for tests that break them."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from app.child import die_with
from app.sandbox.ports import choose_ports
from app.sandbox.redis import find_redis
from tests.conftest import RedisServer

RANGES = ((0, 5460), (5461, 10922), (10923, 16383))
NODE_TIMEOUT_MS = 1000
DOWN_MS = 500
_PATIENCE_S = 30.0


def ask(port: int, *words: str) -> str:
    """Return what the server at `port` answers to one command, as text."""
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        request = "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in words)
        connection.sendall(f"*{len(words)}\r\n{request}".encode())
        connection.settimeout(5)
        reader = connection.makefile("rb")
        return _reply(reader.readline, reader.read)


def _reply(readline: Callable[[], bytes], read: Callable[[int], bytes]) -> str:
    line = readline().rstrip()
    kind, rest = line[:1], line[1:].decode()
    if kind == b"$":
        return read(int(rest) + 2)[:-2].decode() if rest != "-1" else ""
    if kind == b"*":
        return "\n".join(_reply(readline, read) for _ in range(int(rest)))
    if kind == b"-":
        raise RuntimeError(rest)
    return rest


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            if condition():
                return
        except (OSError, RuntimeError):
            pass
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def free_ports(count: int) -> list[int]:
    names = [f"redis{number}" for number in range(count)]
    return list(choose_ports(names, {}, random.Random()).values())


def start(port: int, folder: Path, *settings: str) -> RedisServer:
    """Return a running server with its data below `folder`."""
    data = folder / str(port)
    data.mkdir(parents=True)
    at_once = ("--repl-diskless-sync-delay", "0")
    server = RedisServer(port, data, (*at_once, *settings))
    server.start()
    return server


def pause(server: RedisServer) -> None:
    """Stop it in the middle of whatever it does: it keeps its connections, and does not answer."""
    os.kill(server.pid, signal.SIGSTOP)


def resume(server: RedisServer) -> None:
    os.kill(server.pid, signal.SIGCONT)


def _end(servers: Sequence[RedisServer]) -> None:
    for server in servers:
        server.stop()


@dataclass(slots=True)
class Cluster:
    """Three primaries with a third of the slots each, and a replica of each where asked for."""

    primaries: list[RedisServer]
    replicas: list[RedisServer] = field(default_factory=list)

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{one.port}" for one in self.primaries)

    def owner(self, slot: int) -> RedisServer:
        """Return the primary that had this slot at first."""
        return next(s for s, (a, b) in zip(self.primaries, RANGES, strict=True) if a <= slot <= b)

    def begin_move(self, slot: int, there: RedisServer) -> None:
        """Begin what `redis-cli --cluster reshard` does: from now on it goes key by key."""
        here = self.owner(slot)
        ask(there.port, "CLUSTER", "SETSLOT", str(slot), "IMPORTING", node_id(here))
        ask(here.port, "CLUSTER", "SETSLOT", str(slot), "MIGRATING", node_id(there))

    def end_move(self, slot: int, there: RedisServer) -> None:
        here = self.owner(slot)
        while keys := ask(here.port, "CLUSTER", "GETKEYSINSLOT", str(slot), "100"):
            for key in keys.split("\n"):
                ask(here.port, "MIGRATE", "127.0.0.1", str(there.port), key, "0", "5000")
        for server in (there, *self.primaries):
            ask(server.port, "CLUSTER", "SETSLOT", str(slot), "NODE", node_id(there))


def node_id(server: RedisServer) -> str:
    return ask(server.port, "CLUSTER", "MYID")


@contextmanager
def a_cluster(folder: Path, *, replicas: bool = False) -> Iterator[Cluster]:
    """Yield a cluster that serves all slots."""
    ports = free_ports(12)
    servers: list[RedisServer] = []
    try:
        for port, bus in list(zip(ports[:6], ports[6:], strict=True))[: 6 if replicas else 3]:
            enabled = ("--cluster-enabled", "yes", "--cluster-port", str(bus))
            patience = ("--cluster-node-timeout", str(NODE_TIMEOUT_MS))
            servers.append(start(port, folder, *enabled, *patience))
        cluster = Cluster(servers[:3], servers[3:])
        for server, (first, last) in zip(cluster.primaries, RANGES, strict=True):
            ask(server.port, "CLUSTER", "ADDSLOTSRANGE", str(first), str(last))
        for number, server in enumerate(servers):
            ask(server.port, "CLUSTER", "SET-CONFIG-EPOCH", str(number + 1))
            ask(server.port, "CLUSTER", "MEET", "127.0.0.1", str(ports[0]), str(ports[6]))
        _until_all(servers, "CLUSTER INFO", f"cluster_known_nodes:{len(servers)}")
        for primary, replica in zip(cluster.primaries, cluster.replicas, strict=False):
            ask(replica.port, "CLUSTER", "REPLICATE", node_id(primary))
        _until_all(servers, "CLUSTER INFO", "cluster_state:ok")
        _until_all(cluster.replicas, "INFO replication", "master_link_status:up")
        _until_all(servers, "CLUSTER SLOTS", str(servers[-1].port))
        yield cluster
    finally:
        _end(servers)


def _until_all(servers: Sequence[RedisServer], question: str, answer: str) -> None:
    for server in servers:
        until(
            lambda port=server.port: answer in ask(port, *question.split()),  # type: ignore[misc]
            f"{question} does not say {answer}",
        )


@dataclass(slots=True)
class Guarded:
    """A primary and a replica, watched by one Sentinel under the name `main`."""

    primary: RedisServer
    replica: RedisServer
    sentinel: int

    @property
    def url(self) -> str:
        return f"redis+sentinel://127.0.0.1:{self.sentinel}/main/0"

    def until_failed_over(self) -> None:
        until(
            lambda: (
                str(self.replica.port)
                in ask(self.sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main")
            ),
            "nobody takes over",
        )
        until(
            lambda: "role:master" in ask(self.replica.port, "INFO", "replication"),
            "the replica stays one",
        )


@contextmanager
def a_guarded_redis(folder: Path) -> Iterator[Guarded]:
    first, second, third = free_ports(3)
    servers: list[RedisServer] = []
    watching: subprocess.Popen[bytes] | None = None
    try:
        servers.append(start(first, folder))
        servers.append(start(second, folder, "--replicaof", f"127.0.0.1 {first}"))
        _until_all(servers[1:], "INFO replication", "master_link_status:up")
        file = folder / "sentinel.conf"
        file.write_text(
            f"port {third}\nbind 127.0.0.1\ndir {folder}\n"
            f"sentinel monitor main 127.0.0.1 {first} 1\n"
            f"sentinel down-after-milliseconds main {DOWN_MS}\n"
            "sentinel failover-timeout main 5000\n"
        )
        watching = subprocess.Popen(
            [find_redis(), str(file), "--sentinel"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=die_with(os.getpid()),  # noqa: PLW1509 - no other thread forks here
        )
        until(
            lambda: str(second) in ask(third, "SENTINEL", "REPLICAS", "main"),
            "the Sentinel does not know the replica",
        )
        yield Guarded(servers[0], servers[1], third)
    finally:
        _end(servers)
        if watching is not None:
            watching.kill()
            watching.wait()
