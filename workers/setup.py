"""What the configuration says about one lane or one target, ready for use."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from app.config.rolemap import digest
from app.config.settings import Settings
from app.config.tenant import Tenant
from workers.access.desired import Rules, role_definitions
from workers.access.guard import Limit
from workers.access.model import Policy, RoleDefinition
from workers.clickhouse.pool import Endpoint


@dataclass(frozen=True, slots=True)
class Sharing:
    """What the tenants of one target have there: their marker roles, and who defines each role.

    One value for all of them: there may be thousands.
    """

    markers: frozenset[str]
    definers: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """`siblings`: all targets of the tenant. `definitions`: the roles that are kept in shape, by
    name. `digest`: differs where a change of the file changes what users hold.
    """

    tenant: str
    target: str
    siblings: tuple[str, ...]
    rules: Rules
    definitions: Mapping[str, RoleDefinition]
    sharing: Sharing
    marker: str
    drop_deleted: bool
    purge_after_ms: int | None
    revoke_foreign: bool
    adopt_existing: bool
    protected_names: frozenset[str]
    limit: Limit
    protected_roles: frozenset[str]
    digest: str

    @classmethod
    def of(cls, settings: Settings, tenant: str, target: str) -> Setup | None:
        """Return the setup of this lane; None if the configuration has no such lane.

        It looks at every tenant: who needs more than one asks `Setups`.
        """
        return Setups(settings).of(tenant, target)

    @property
    def partners(self) -> frozenset[str]:
        """The other tenants that define roles of ours on this target, alike: the configuration's
        check sees to it.
        """
        definers = self.sharing.definers
        return frozenset(t for role in self.definitions for t in definers[role]) - {self.tenant}

    def policy(self, vocabulary: frozenset[str]) -> Policy:
        return Policy(
            marker=self.marker,
            vocabulary=vocabulary,
            drop_deleted=self.drop_deleted,
            revoke_foreign=self.revoke_foreign,
            adopt_existing=self.adopt_existing,
            protected_names=self.protected_names,
            protected_roles=self.protected_roles,
            markers=self.sharing.markers,
            methods=self.rules.methods,
        )


class Setups:
    """The lanes' setups under one configuration, each made when first asked for."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._made: dict[tuple[str, str], Setup] = {}

    def of(self, tenant: str, target: str) -> Setup | None:
        """Return the setup of this lane; None if the configuration has no such lane."""
        configured = self._settings.tenants.get(tenant)
        if configured is None or target not in configured.targets:
            return None
        lane = tenant, target
        if lane not in self._made:
            self._made[lane] = self._make(tenant, configured, target)
        return self._made[lane]

    def _make(self, tenant: str, configured: Tenant, target: str) -> Setup:
        settings, of_target = self._settings, self._settings.targets[target]
        return Setup(
            tenant=tenant,
            target=target,
            siblings=configured.targets,
            rules=Rules.of(tenant, configured, target),
            definitions=role_definitions(configured.roles),
            sharing=self._sharing[target],
            marker=configured.marker_role,
            drop_deleted=configured.on_delete == "drop",
            purge_after_ms=None
            if configured.purge_after_days is None
            else configured.purge_after_days * 86_400_000,
            revoke_foreign=configured.foreign_grants == "revoke",
            adopt_existing=configured.adopt_existing_users,
            protected_names=frozenset({of_target.user, *of_target.protected_users}),
            protected_roles=frozenset(of_target.protected_roles),
            limit=Limit(settings.guard.max_share, settings.guard.at_least),
            digest=digest(configured),
        )

    @cached_property
    def _sharing(self) -> Mapping[str, Sharing]:
        markers: defaultdict[str, set[str]] = defaultdict(set)
        definers: defaultdict[str, defaultdict[str, list[str]]] = defaultdict(
            lambda: defaultdict(list)
        )
        for tenant, configured in self._settings.tenants.items():
            for target in configured.targets:
                markers[target].add(configured.marker_role)
                for role in configured.roles:
                    definers[target][role].append(tenant)
        return {
            target: Sharing(
                frozenset(some), {role: tuple(by) for role, by in definers[target].items()}
            )
            for target, some in markers.items()
        }


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
