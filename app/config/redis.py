"""`[redis]`: where the directory lies: on one Redis, on several, or on a Redis Cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import AfterValidator, Field

from app.config.section import (
    NOT_IN_THE_FILE,
    Account,
    Number,
    Text,
    Whole,
    distinct,
    one_of,
)

Kind = Literal["plain", "sentinel", "cluster"]

_PASSWORD = f"holds a password, which {NOT_IN_THE_FILE}"
_REDIS, _SENTINEL = 6379, 26379
_SCHEMES: Mapping[str, tuple[Kind, bool]] = {
    "redis": ("plain", False),
    "rediss": ("plain", True),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
}


@dataclass(frozen=True, slots=True)
class Address:
    """What a URL says. `hosts`: of the server, of the Sentinels, or of some nodes of a cluster.

    `plain`: the same as redis-py reads it, for the first host. `service`: what the Sentinels call
    the primary. `name`: what it is called in messages, and what tenants are placed by: it does not
    change with TLS, an account or the list of Sentinels.
    """

    kind: Kind
    hosts: tuple[tuple[str, int], ...]
    service: str
    plain: str
    name: str


def parse_url(url: str) -> Address:
    """Return what `url` says. Raises ValueError that tells what to do."""
    scheme, _, rest = url.partition("://")
    if "password" in parse_qs(rest.partition("?")[2]):
        raise ValueError(_PASSWORD)
    if scheme == "unix":
        return Address("plain", (), "", url, urlsplit(url).path)
    if scheme not in _SCHEMES or not rest:
        raise ValueError(
            "must begin with redis://, rediss:// (TLS), unix://, redis+sentinel:// or"
            ' redis+cluster://, as in "redis://127.0.0.1:6379/0"'
        )
    kind, tls = _SCHEMES[scheme]
    path, _, query = rest.partition("?")
    where, _, path = path.partition("/")
    account, at, listed = where.rpartition("@")
    if ":" in account:
        raise ValueError(_PASSWORD)
    default = _SENTINEL if kind == "sentinel" else _REDIS
    hosts = tuple(_host(one, default) for one in listed.split(","))
    service, database = _path(kind, path)
    if kind == "plain" and len(hosts) > 1:
        raise ValueError("names several hosts; give `urls`, a list, to place tenants on several")
    first = _written(*hosts[0])
    plain = f"redis{'s' * tls}://{account}{at}{first}/{database}" + f"?{query}" * bool(query)
    name = f"cluster of {first}" if kind == "cluster" else f"{service or first}/{database}"
    return Address(kind, hosts, service, plain, name)


def _path(kind: Kind, path: str) -> tuple[str, str]:
    """Return the service and the database that the path names: `/0` or `/SERVICE/0`."""
    service, database = "", path.strip("/")
    if kind == "sentinel":
        service, _, database = database.partition("/")
        if not service:
            raise ValueError(
                "names no service; write what the Sentinels call the primary behind the hosts,"
                ' as in "redis+sentinel://sentinel-1:26379,sentinel-2:26379/mymaster/0"'
            )
    if kind == "cluster" and database:
        raise ValueError("names a database, and a cluster has but one; leave out the path")
    if database and not database.isdecimal():
        raise ValueError('names no database; it is a number, as in "redis://127.0.0.1:6379/0"')
    return service, database or "0"


def _host(written: str, default: int) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{written}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host:
        raise ValueError('is no URL; write it as "redis://127.0.0.1:6379/0"')
    return host, default if port is None else port


def _written(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _checked(url: str) -> str:
    parse_url(url)
    return url


def _no_cluster(url: str) -> str:
    if parse_url(url).kind == "cluster":
        raise ValueError("is a cluster; it has to be one Redis, or one behind Sentinels")
    return url


def _apart(urls: tuple[str, ...]) -> tuple[str, ...]:
    names = [parse_url(url).name for url in urls]
    for at, name in enumerate(names):
        if name in names[:at]:
            raise ValueError(f"names {name} twice; each needs a host, port or service of its own")
    return urls


RedisUrl = Annotated[Text, AfterValidator(_checked)]
ServerUrl = Annotated[Text, AfterValidator(_no_cluster)]


class SentinelSettings(Account):
    """The password of the Sentinels themselves, where they have one."""

    later: ClassVar[Mapping[tuple[str, object], str]] = {("password", ...): NOT_IN_THE_FILE}


class QueueSettings(Account):
    """A Redis that carries wake-ups alone: nothing is lost with it but the first second or two."""

    url: ServerUrl

    later: ClassVar[Mapping[tuple[str, object], str]] = {("password", ...): NOT_IN_THE_FILE}


class RedisSettings(Account):
    """`url` or `urls`: of several each tenant has its place on one.

    `max_memory_share`: of Redis's `maxmemory`; beyond it only what takes access away is written.
    `wait_replicas`: so many replicas have to have a change before it is answered.
    """

    url: RedisUrl | None = None
    urls: Annotated[
        tuple[ServerUrl, ...], Field(min_length=1), AfterValidator(distinct), AfterValidator(_apart)
    ] = ()
    max_memory_share: Annotated[Number, Field(gt=0, le=1)] = 0.9
    wait_replicas: Annotated[Whole, Field(ge=0, le=16)] = 0
    sentinel: SentinelSettings | None = None
    queue: QueueSettings | None = None

    later: ClassVar[Mapping[tuple[str, object], str]] = {("password", ...): NOT_IN_THE_FILE}

    @classmethod
    def relations(cls, raw: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        yield from super().relations(raw)
        if "url" not in raw and "urls" not in raw:
            yield "url", "is missing; add it"
        yield from one_of(raw, ("url", "urls"), required=False)
        url = raw.get("url")
        if isinstance(url, str) and "+cluster://" in url and "queue" not in raw:
            reason = (
                "is missing; wake-ups need a plain Redis beside a cluster: [redis.queue] url = …"
            )
            yield "queue", reason

    @property
    def places(self) -> tuple[str, ...]:
        """The URLs of every Redis that the directory lies on; a cluster is one."""
        return self.urls if self.url is None else (self.url,)
