"""The tenants and targets that a command line names, checked against the configuration."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import click

from app.config.nodes import configured_name
from app.config.suggest import closest

if TYPE_CHECKING:
    from app.config.settings import Settings
    from app.errors import TargetError


class LaneName(NamedTuple):
    """A lane as people write it: `acme/main`."""

    tenant: str
    target: str

    def __str__(self) -> str:
        return f"{self.tenant}/{self.target}"


def require_tenant(settings: Settings, tenant: str) -> None:
    """Raise UsageError (exit code 2) unless the configuration has this tenant."""
    if tenant not in settings.tenants:
        wrong(f"there is no tenant {tenant!r}", tenant, settings.tenants)


def require_lane(settings: Settings, tenant: str, target: str) -> LaneName:
    """Return the lane. Raises UsageError unless it is a tenant with that target."""
    require_tenant(settings, tenant)
    targets = settings.tenants[tenant].targets
    if target not in targets:
        wrong(f"tenant {tenant} has no target {target!r}", target, targets)
    return LaneName(tenant, target)


def require_target(settings: Settings, tenant: str, target: str) -> list[LaneName]:
    """Return the lanes to a target as the file names it: one, or one to each of its servers.

    Raises UsageError unless it is a tenant with that target.
    """
    require_tenant(settings, tenant)
    lanes = [
        LaneName(tenant, one) for one in settings.tenants[tenant].targets if _is_of(one, target)
    ]
    if not lanes:
        known = {configured_name(one) for one in settings.tenants[tenant].targets}
        wrong(f"tenant {tenant} has no target {target!r}", target, known)
    return lanes


def _is_of(lane: str, target: str) -> bool:
    return target in {lane, configured_name(lane)}


def select_lanes(settings: Settings, tenant: str | None, target: str | None) -> list[LaneName]:
    """Return the lanes of the configuration, in its order: of one tenant, one target, or all."""
    if tenant is not None:
        require_tenant(settings, tenant)
    if target is not None and not any(_is_of(one, target) for one in settings.targets):
        known = {configured_name(one) for one in settings.targets}
        wrong(f"there is no target {target!r}", target, known)
    return [
        LaneName(name, one)
        for name, its in settings.tenants.items()
        for one in its.targets
        if tenant in (None, name) and (target is None or _is_of(one, target))
    ]


def not_reached(what: str, error: TargetError) -> str:
    """Return a line that says why a target can't be had, and who knows what mends it."""
    return f"{what}: {str(error).rstrip('.')}; `clickhouse-scim doctor` says what mends it"


def wrong(what: str, written: str, known: Iterable[str]) -> NoReturn:
    """Raise UsageError: `what`, and the name that was probably meant or those that there are."""
    names = sorted(known)
    hint = closest(written, names)
    some = ", ".join(names[:10]) + ", …" * (len(names) > 10)
    advice = f"did you mean {hint}?" if hint else f"the configuration has: {some}."
    raise click.UsageError(f"{what}; {advice}", click.get_current_context(silent=True))
