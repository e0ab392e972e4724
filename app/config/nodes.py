"""Targets whose servers keep users each for itself: from here on, each server is a target.

So a server that is slow, away or new concerns nobody but its own lane, and a new one in `hosts` is
filled as any new target is (docs/adr/0019).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the command line asks for names here, and needs no pydantic for --help
    from app.config.settings import Settings
    from app.config.target import Target
    from app.config.tenant import Tenant

_BETWEEN = "@"  # not part of a name in the file


def by_node(settings: Settings) -> Settings:
    """Return the settings with a target for each server of a target that is not `replicated`, named
    `TARGET@HOST:PORT`, in the places of the target.
    """
    nodes = {name: _nodes(name, target) for name, target in settings.targets.items()}
    return settings.model_copy(
        update={
            "targets": {node: one for its in nodes.values() for node, one in its.items()},
            "tenants": {name: _tenant(tenant, nodes) for name, tenant in settings.tenants.items()},
        }
    )


def configured_name(target: str) -> str:
    """Return what the file calls the target that this one is, or is a server of."""
    return target.partition(_BETWEEN)[0]


def _nodes(name: str, target: Target) -> dict[str, Target]:
    if target.storage == "replicated":
        return {name: target}
    return {
        f"{name}{_BETWEEN}{host}": target.model_copy(update={"hosts": (host,)})
        for host in target.hosts
    }


def _tenant(tenant: Tenant, nodes: Mapping[str, Iterable[str]]) -> Tenant:
    def spread(targets: Iterable[str]) -> tuple[str, ...]:
        return tuple(node for target in targets for node in nodes[target])

    groups = tuple(
        entry.model_copy(update={"targets": spread(entry.targets)}) for entry in tenant.groups
    )
    return tenant.model_copy(update={"targets": spread(tenant.targets), "groups": groups})
