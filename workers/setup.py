"""What the configuration says about one lane or one target, ready for use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.config.rolemap import digest
from app.config.settings import Settings
from workers.access.desired import Rules, role_definitions
from workers.access.guard import Limit
from workers.access.model import Policy, RoleDefinition
from workers.clickhouse.pool import Endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """`siblings`: all targets of the tenant. `definitions`: the roles that are kept in shape, by
    name. `partners`: the other tenants that define roles on this target, alike where they have the
    same (the configuration's check sees to it). `digest`: differs where a change of the file
    changes what users hold.
    """

    tenant: str
    target: str
    siblings: tuple[str, ...]
    rules: Rules
    definitions: Mapping[str, RoleDefinition]
    partners: tuple[str, ...]
    marker: str
    drop_deleted: bool
    purge_after_ms: int | None
    revoke_foreign: bool
    adopt_existing: bool
    protected_names: frozenset[str]
    limit: Limit
    protected_roles: frozenset[str]
    markers: frozenset[str]
    digest: str

    @classmethod
    def of(cls, settings: Settings, tenant: str, target: str) -> Setup | None:
        """Return the setup of this lane; None if the configuration has no such lane."""
        configured = settings.tenants.get(tenant)
        if configured is None or target not in configured.targets:
            return None
        of_target = settings.targets[target]
        return cls(
            tenant=tenant,
            target=target,
            siblings=configured.targets,
            rules=Rules.of(tenant, configured, target),
            definitions=role_definitions(configured.roles),
            partners=tuple(
                name
                for name, other in settings.tenants.items()
                if name != tenant
                and target in other.targets
                and configured.roles.keys() & other.roles.keys()
            ),
            marker=configured.marker_role,
            drop_deleted=configured.on_delete == "drop",
            purge_after_ms=None
            if configured.purge_after_days is None
            else configured.purge_after_days * 86_400_000,
            revoke_foreign=configured.foreign_grants == "revoke",
            adopt_existing=configured.adopt_existing_users,
            protected_names=frozenset({of_target.user, *of_target.protected_users}),
            protected_roles=frozenset(of_target.protected_roles),
            markers=frozenset(
                one.marker_role for one in settings.tenants.values() if target in one.targets
            ),
            limit=Limit(settings.guard.max_share, settings.guard.at_least),
            digest=digest(configured),
        )

    def policy(self, vocabulary: frozenset[str]) -> Policy:
        return Policy(
            marker=self.marker,
            vocabulary=vocabulary,
            drop_deleted=self.drop_deleted,
            revoke_foreign=self.revoke_foreign,
            adopt_existing=self.adopt_existing,
            protected_names=self.protected_names,
            protected_roles=self.protected_roles,
            markers=self.markers,
        )


def endpoint_of(settings: Settings, name: str) -> Endpoint:
    """Return where and as whom workers connect to this target."""
    target = settings.targets[name]
    return Endpoint(
        hosts=tuple((host.name, host.port) for host in target.hosts),
        user=target.user,
        password=target.secret() or "",
        database=target.database,
        secure=target.secure,
        ca_file=target.ca_file,
        max_connections=target.max_connections,
        connect_s=target.connect_seconds,
        query_s=settings.worker.statement_seconds,
    )
