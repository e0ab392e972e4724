"""Targets whose servers keep users each for itself: from here on, each server is a target.

So a server that is slow, away or new concerns nobody but its own lane, and a new one is filled as
any new target is (docs/adr/0019), whether it is in `hosts` or was found in the target's cluster
(docs/adr/0026).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the command line asks for names here, and needs no pydantic for --help
    from app.config.settings import Settings
    from app.config.target import Host, Target
    from app.config.tenant import Tenant

_BETWEEN = "@"  # not part of a name in the file


def by_node(settings: Settings) -> Settings:
    """Return the settings with a target for each server of a target that is not `replicated`, named
    `TARGET@HOST:PORT`, in the places of the target.
    """
    nodes = {name: _nodes(name, target, target.hosts) for name, target in settings.targets.items()}
    return _replaced(settings, nodes)


def with_servers(settings: Settings, found: Mapping[str, Collection[Host]]) -> Settings:
    """Return `settings`, which are the file's, with the servers that were `found` beside `hosts`,
    by the target as the file calls it. Of a `replicated` target they are further ways to it.

    Where users need no password, a server that is not on this machine is left out (see `checks`).
    """
    nodes: dict[str, dict[str, Target]] = {}
    for node, target in settings.targets.items():
        nodes.setdefault(configured_name(node), {})[node] = target
    open_to_all = {
        configured_name(target)
        for tenant in settings.tenants.values()
        for target in tenant.targets
        if tenant.authentication.method == "no_password"
    }
    for name, servers in found.items():
        if its := nodes.get(name):
            near = [host for host in servers if host.is_loopback or name not in open_to_all]
            hosts = [host for target in its.values() for host in target.hosts]
            its.update(_nodes(name, next(iter(its.values())), dict.fromkeys((*hosts, *near))))
    return _replaced(settings, nodes)


def clustered(settings: Settings) -> dict[str, list[str]]:
    """Return the targets that name a cluster, as the file calls them, each with its nodes."""
    nodes: dict[str, list[str]] = {}
    for node, target in settings.targets.items():
        if target.cluster is not None:
            nodes.setdefault(configured_name(node), []).append(node)
    return nodes


def configured_name(target: str) -> str:
    """Return what the file calls the target that this one is, or is a server of."""
    return target.partition(_BETWEEN)[0]


def _nodes(name: str, target: Target, hosts: Iterable[Host]) -> dict[str, Target]:
    if target.storage == "replicated":
        return {name: target.model_copy(update={"hosts": tuple(hosts)})}
    return {
        f"{name}{_BETWEEN}{host}": target.model_copy(update={"hosts": (host,)}) for host in hosts
    }


def _replaced(settings: Settings, nodes: Mapping[str, Mapping[str, Target]]) -> Settings:
    return settings.model_copy(
        update={
            "targets": {node: one for its in nodes.values() for node, one in its.items()},
            "tenants": {name: _tenant(tenant, nodes) for name, tenant in settings.tenants.items()},
        }
    )


def _tenant(tenant: Tenant, nodes: Mapping[str, Iterable[str]]) -> Tenant:
    def spread(targets: Iterable[str]) -> tuple[str, ...]:
        names = dict.fromkeys(map(configured_name, targets))
        return tuple(node for name in names for node in nodes[name])

    groups = tuple(
        entry.model_copy(update={"targets": spread(entry.targets)}) for entry in tenant.groups
    )
    return tenant.model_copy(update={"targets": spread(tenant.targets), "groups": groups})
