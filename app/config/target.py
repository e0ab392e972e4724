"""Targets: ClickHouse deployments that tenants are provisioned into."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import BeforeValidator, Field

from app.config.section import NOT_IN_THE_FILE, Account, Flag, Names, Number, Text, Whole

NATIVE_PORT = 9000
_SHAPE = 'write it as "host:port"; an IPv6 address goes in brackets, as in "[::1]:9000"'


class Host(NamedTuple):
    """One server's native protocol address. `name` has no brackets."""

    name: str
    port: int

    @property
    def is_loopback(self) -> bool:
        try:
            return ipaddress.ip_address(self.name).is_loopback
        except ValueError:
            return self.name == "localhost"

    def __str__(self) -> str:
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


def parse_host(text: object) -> Host:
    """Return the address that `text` names; port 9000 where it has none."""
    if isinstance(text, Host):
        return text
    if not isinstance(text, str):
        raise ValueError(f"must be text; {_SHAPE}")  # noqa: TRY004 - pydantic reports ValueError
    if text.startswith("["):
        name, _, rest = text[1:].partition("]")
        try:
            ipaddress.IPv6Address(name)
        except ValueError:
            raise ValueError(f"has no IPv6 address in its brackets; {_SHAPE}") from None
    else:
        name, colon, port = text.partition(":")
        rest = colon + port
    if not name or any(char.isspace() or char in "/@[]" for char in name) or rest.count(":") > 1:
        raise ValueError(f"is no address of a server; {_SHAPE}")
    if not rest:
        return Host(name, NATIVE_PORT)
    if not (rest[0] == ":" and rest[1:].isascii() and rest[1:].isdigit()):
        raise ValueError(f"has no port after its colon; {_SHAPE}")
    if not 0 < int(rest[1:]) < 1 << 16:
        raise ValueError("has a port outside 1 to 65535")
    return Host(name, int(rest[1:]))


class Target(Account):
    """One deployment.

    `storage`: `replicated` where all servers have one access storage, or there is one server;
    `per_node` where each has its own, `on_cluster` where these are those of `cluster`. With a
    `cluster` its servers are found beside `hosts`.
    `sandbox_nodes`: how many servers `clickhouse-scim sandbox` starts for a target without `hosts`;
    nobody else reads it.
    """

    hosts: tuple[Annotated[Host, BeforeValidator(parse_host)], ...] = ()
    user: Text = "provisioner"
    secure: Flag = False
    ca_file: Path | None = None
    storage: Literal["replicated", "on_cluster", "per_node"] = "replicated"
    cluster: Text | None = None
    database: Text = "default"
    protected_users: Names = ()
    protected_roles: Names = ()
    max_connections: Annotated[Whole, Field(ge=1, le=1000)] = 8
    connect_seconds: Annotated[Number, Field(gt=0, le=300)] = 5.0
    sandbox_nodes: Annotated[Whole, Field(ge=1, le=9)] = 1

    later: ClassVar[Mapping[tuple[str, object], str]] = {
        ("password", ...): NOT_IN_THE_FILE,
    }

    @classmethod
    def relations(cls, raw: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        yield from super().relations(raw)
        if "ca_file" in raw and raw.get("secure", False) is False:
            yield "ca_file", "has no use without secure = true; set that or remove this"
        if raw.get("storage") == "on_cluster" and "cluster" not in raw:
            yield "cluster", 'is missing; name the cluster, as in "main", for storage on_cluster'
        hosts = raw.get("hosts")
        if isinstance(hosts, list) and (twice := [h for h in hosts if hosts.count(h) > 1]):
            yield "hosts", f"names {twice[0]} twice; once is enough"
