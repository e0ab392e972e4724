"""A Redis Cluster as one Redis: each command goes to the node that has its key's hash slot.

All keys of a tenant are in one slot, so its scripts and transactions are whole. A node that has the
slot no more refuses a command without doing anything, and names the one that has it: the command is
sent there. Any other failure leaves the outcome open, or says that the cluster does not serve now:
it is raised, and the map of slots is read anew.

While a slot is moved key by key, some of a tenant's keys are on one node and some on the other.
Then commands that meet a missing key are refused (ASK, TRYAGAIN) and nothing follows them to the
other node, which has not all keys yet: the tenant waits until its slot is on one node again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import BlockingConnectionPool
from redis.asyncio.client import Pipeline
from redis.asyncio.cluster import ClusterParser
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    ReadOnlyError,
    RedisError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from app.config.redis import Address
from app.directory.answered import ANSWER_S
from app.directory.pipelined import PipelinedRedis, Server
from app.directory.pools import CONNECT_S, connecting, make_pool

REDIRECTS = 3
_SCRIPTS = frozenset({"EVALSHA", "EVALSHA_RO", "EVAL", "EVAL_RO"})
_KEYLESS = frozenset(
    {"PING", "ECHO", "INFO", "TIME", "WAIT", "WAITAOF", "SCRIPT LOAD", "CONFIG GET", "DBSIZE"}
)
_REST_S = 0.2  # between two readings of the map

NodeAddress = tuple[str, int]
Command = tuple[tuple[Any, ...], dict[str, Any]]


def slot_of(command: Sequence[Any]) -> int | None:
    """Return the hash slot of a command's first key, None for a command without."""
    name = command[0]
    if name in _KEYLESS:
        return None
    key = command[3 if name in _SCRIPTS else 1]
    return int(key_slot(key if isinstance(key, bytes) else str(key).encode()))


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes of the cluster as one of them told. `owners`: (first slot, last slot, primary)."""

    owners: Sequence[tuple[int, int, NodeAddress]] = ()
    replicas: frozenset[NodeAddress] = frozenset()

    @property
    def primaries(self) -> list[NodeAddress]:
        return list(dict.fromkeys(node for _, _, node in self.owners))


def parse_slots(told: Sequence[Any], asked: NodeAddress) -> Nodes:
    """Return what a reply to CLUSTER SLOTS says. A node that knows no name of its own has that
    under which it was `asked`; hosts are text.
    """

    def node(raw: Sequence[Any]) -> NodeAddress:
        host = raw[0].decode() if isinstance(raw[0], bytes) else raw[0]
        return (host or asked[0], int(raw[1]))

    return Nodes(
        [(int(first), int(last), node(primary)) for first, last, primary, *_ in told],
        frozenset(node(replica) for _, _, _, *replicas in told for replica in replicas),
    )


@dataclass(slots=True)
class Topology:
    """Who has which slot, and a client for each node. `at`: the URL with the first nodes to ask."""

    at: Address
    password: str | None
    connections: int
    nodes: Nodes = field(default_factory=Nodes)
    _owner: dict[int, NodeAddress] = field(default_factory=dict)
    _clients: dict[NodeAddress, PipelinedRedis] = field(default_factory=dict)
    _reading: asyncio.Task[None] | None = None
    _read_at: float = float("-inf")

    async def owner(self, slot: int | None) -> PipelinedRedis:
        """Return the client of the node that has `slot`; None is any node.

        Raises RedisConnectionError if nobody has it, or no node answers.
        """
        if not self._owner:
            await self.read()
        node = next(iter(self._owner.values())) if slot is None else self._owner.get(slot)
        if node is None:
            self.suspect()
            raise RedisConnectionError(f"no node of the cluster serves slot {slot}")
        return self.client(node)

    def client(self, node: NodeAddress) -> PipelinedRedis:
        if node not in self._clients:
            options = connecting(self.at.plain, self.password)
            options |= {"host": node[0], "port": node[1], "parser_class": ClusterParser}
            pool = BlockingConnectionPool(
                max_connections=self.connections,
                timeout=ANSWER_S,  # type: ignore[arg-type]
                **options,
            )
            self._clients[node] = client = PipelinedRedis(connection_pool=pool)
            client.auto_close_connection_pool = True
        return self._clients[node]

    def moved(self, error: MovedError) -> None:
        """Believe a node that says who has a slot, and read the rest of the map."""
        self._owner[error.slot_id] = (error.host or self.at.hosts[0][0], error.port)
        self.suspect()

    def suspect(self) -> None:
        """Have the map read anew, soon and beside whatever goes on."""
        loop = asyncio.get_running_loop()
        if self._reading is None and loop.time() - self._read_at >= _REST_S:
            self._start()

    async def read(self) -> None:
        """Read the map now; who asks meanwhile waits for the same reading. Raises
        RedisConnectionError if no node answers.
        """
        await asyncio.shield(self._reading or self._start())

    def _start(self) -> asyncio.Task[None]:
        self._reading = asyncio.create_task(self._read(), name="map of the cluster")
        self._reading.add_done_callback(_seen)
        return self._reading

    async def _read(self) -> None:
        """Ask the nodes that are known, all at once, and believe the first that answers."""
        try:
            known = dict.fromkeys([*self.nodes.primaries, *self.nodes.replicas, *self.at.hosts])
            asking = {asyncio.create_task(self._ask(node)) for node in known}
            try:
                for first in asyncio.as_completed(asking):
                    if (told := await first) is not None:
                        await self._take(told)
                        return
            finally:
                for task in asking:
                    task.cancel()
                await asyncio.gather(*asking, return_exceptions=True)
            raise RedisConnectionError("no node of the cluster answers")
        finally:
            self._read_at = asyncio.get_running_loop().time()
            self._reading = None

    async def _ask(self, node: NodeAddress) -> Nodes | None:
        try:
            async with asyncio.timeout(CONNECT_S):
                told = await self.client(node).execute_command("CLUSTER SLOTS")
        except (RedisError, OSError, TimeoutError):
            return None
        nodes = parse_slots(told, node)
        return nodes if nodes.owners else None

    async def _take(self, nodes: Nodes) -> None:
        self.nodes = nodes
        self._owner = {
            slot: node for first, last, node in nodes.owners for slot in range(first, last + 1)
        }
        there = {*nodes.primaries, *nodes.replicas, *self.at.hosts}
        for node in [one for one in self._clients if one not in there]:
            await self._clients.pop(node).aclose()

    async def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        for client in self._clients.values():
            await client.aclose()


def _seen(task: asyncio.Task[None]) -> None:
    """Take note of the failure of a reading that nobody waited for; the next command has one."""
    if not task.cancelled():
        task.exception()


class ClusterRedis(PipelinedRedis):
    """As `PipelinedRedis`, for commands whose keys are all in one slot; their first key tells it.

    In a pipeline a command without a key goes where the one before it goes.
    """

    def __init__(self, at: Address, password: str | None, connections: int) -> None:
        pool = make_pool(at, password, None)
        super().__init__(connection_pool=pool)
        self.auto_close_connection_pool = True
        self.topology = Topology(at, password, connections)

    async def ask(self, command: tuple[Any, ...]) -> Any:
        slot = slot_of(command)
        for _ in range(REDIRECTS):
            node = await self.topology.owner(slot)
            try:
                return await node.ask(command)
            except MovedError as error:
                self.topology.moved(error)
            except _DISTRUST:
                self.topology.suspect()
                raise
        raise RedisConnectionError(f"slot {slot} is moved from node to node")

    def pipeline(
        self,
        transaction: bool = True,
        shard_hint: str | None = None,  # noqa: ARG002 - as redis-py has it
    ) -> Pipeline:
        return _ClusterPipeline(self, transaction)

    async def servers(self) -> list[Server]:
        await self.topology.read()
        nodes = self.topology.nodes
        every = [*((n, True) for n in nodes.primaries), *((n, False) for n in nodes.replicas)]
        return [Server(f"{n[0]}:{n[1]}", self.topology.client(n), is_it) for n, is_it in every]

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        await self.topology.close()
        await super().aclose(close_connection_pool)


# After these the node that has the slot may be another one.
_DISTRUST = (
    AskError,
    ClusterDownError,
    ReadOnlyError,
    RedisConnectionError,
    RedisTimeoutError,
    OSError,
)


class _ClusterPipeline(Pipeline):
    """Commands for one or several nodes; each node gets its own in one pipeline or transaction.

    Where a node refuses all of them since it has the slot no more, they are sent again.
    """

    def __init__(self, redis: ClusterRedis, transaction: bool) -> None:
        super().__init__(redis.connection_pool, redis.response_callbacks, transaction, None)
        self._topology = redis.topology

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        stack: list[Command] = [(args, dict(options)) for args, options in self.command_stack]
        self.command_stack = []
        replies: list[Any] = [None] * len(stack)
        left: dict[int | None, list[int]] = {}
        slots = [slot_of(command) for command, _ in stack]
        slot = next((one for one in slots if one is not None), None)
        for at, own in enumerate(slots):
            slot = slot if own is None else own
            left.setdefault(slot, []).append(at)
        for _ in range(REDIRECTS):
            for at, reply in await self._send(stack, left):
                replies[at] = reply
            left = {
                one: places
                for one, places in left.items()
                if self._has_moved(stack, places, replies)
            }
            if not left:
                break
        if raise_on_error:
            for reply in replies:
                if isinstance(reply, Exception):
                    raise reply
        return replies

    async def _send(
        self, stack: list[Command], by_slot: Mapping[int | None, list[int]]
    ) -> list[tuple[int, Any]]:
        """Send these places of `stack`, to all nodes at the same time; return their replies. What
        fails as a whole is the reply of each.
        """
        by_node: dict[PipelinedRedis, list[int]] = {}
        replies: list[tuple[int, Any]] = []
        for slot, places in by_slot.items():
            try:
                by_node.setdefault(await self._topology.owner(slot), []).extend(places)
            except (RedisError, OSError) as error:
                replies += [(at, error) for at in places]

        async def send(node: PipelinedRedis, places: list[int]) -> None:
            pipe = node.pipeline(transaction=self.is_transaction)
            for at in places:
                command, options = stack[at]
                pipe.execute_command(*command, **options)
            try:
                found = await pipe.execute(raise_on_error=False)
            except (RedisError, OSError) as error:
                found = [error] * len(places)
            replies.extend(zip(places, found, strict=True))

        async with asyncio.TaskGroup() as tasks:
            for node, places in by_node.items():
                tasks.create_task(send(node, places), name="part of a pipeline")
        return replies

    def _has_moved(self, stack: list[Command], places: list[int], replies: list[Any]) -> bool:
        """Whether all that has a key was refused by a node that has the slot no more."""
        for at in places:
            if isinstance(replies[at], MovedError):
                self._topology.moved(replies[at])
            elif isinstance(replies[at], _DISTRUST):
                self._topology.suspect()
        keyed = [replies[at] for at in places if slot_of(stack[at][0]) is not None]
        return bool(keyed) and all(isinstance(reply, MovedError) for reply in keyed)
