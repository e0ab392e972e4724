"""Mistakes between tables: targets that are missing, names that collide, roles out of reach."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from app.config.suggest import closest
from app.config.target import Target
from app.config.tenant import NoPassword, Tenant
from app.errors import Problem
from app.scim.text import fold

PROTECTED = frozenset({"admin", "default"})
PROTECTED_PREFIX = "scim_"


@dataclass(frozen=True, slots=True)
class Draft:
    """A tenant whose `broken` keys hold defaults instead of what the file says."""

    name: str
    tenant: Tenant
    broken: frozenset[str]

    def legible(self, *keys: str) -> bool:
        return self.broken.isdisjoint(keys)

    def problem(self, key: str, reason: str) -> Problem:
        return Problem(f"tenants.{self.name}.{key}", reason)


def check_tenant(
    draft: Draft, targets: Mapping[str, Target], target_names: frozenset[str]
) -> Iterator[Problem]:
    """Yield what is wrong between one tenant's own keys, and between it and its targets.

    `targets` are those without mistakes, `target_names` all that the file has.
    """
    tenant = draft.tenant
    for name in tenant.targets:
        if name not in target_names:
            hint = closest(name, target_names)
            advice = f"did you mean {hint}?" if hint else f"add [targets.{name}]"
            yield draft.problem("targets", f"there is no target {name}; {advice}")
    if (
        tenant.user_name.localpart
        and draft.legible("user_name", "verified_domains")
        and len(tenant.verified_domains) != 1
    ):
        yield draft.problem(
            "user_name",
            "takes the local part only beside exactly one domain in verified_domains,"
            " or ana@one.example and ana@two.example would be one account",
        )
    if isinstance(tenant.authentication, NoPassword):
        far = [name for name in tenant.targets if name in targets and _is_far(targets[name])]
        if far:
            yield draft.problem(
                "authentication.method",
                f"no_password lets everybody in, so it is for a target on this machine, not for"
                f" {', '.join(far)}; choose another method",
            )
    for key, role in _given(tenant):
        if (why := _protected(role, tenant.marker_role)) is not None:
            yield draft.problem(key, f"role {role} {why}; use another role")


def check_pair(one: Draft, other: Draft) -> Iterator[Problem]:
    """Yield what keeps two tenants from sharing a target: nothing may cross between them."""
    shared = [name for name in other.tenant.targets if name in one.tenant.targets]
    if not shared:
        return
    where = f"shares target {shared[0]} with tenant {one.name}"
    if (
        one.legible("marker_role")
        and other.legible("marker_role")
        and one.tenant.marker_role == other.tenant.marker_role
    ):
        yield other.problem("marker_role", f"{where}, which has this marker too; give each its own")
    keys = ("user_name", "verified_domains")
    if one.legible(*keys) and other.legible(*keys) and _can_collide(one, other):
        yield other.problem(
            "user_name",
            f"{where}, and their users could get one name; put {{tenant}} into both templates"
            " or give them different verified_domains",
        )
    for giver, owner in ((one, other), (other, one)):
        for key, role in _given(giver.tenant):
            if role == owner.tenant.marker_role and role != giver.tenant.marker_role:
                yield giver.problem(key, f"role {role} marks the users of tenant {owner.name}")
    for role, definition in other.tenant.roles.items():
        if one.tenant.roles.get(role, definition) != definition:
            yield other.problem(
                f"roles.{role}",
                f"{where}, which defines it differently; define it alike or rename one",
            )


def check_pairs(drafts: list[Draft]) -> Iterator[Problem]:
    """Yield what `check_pair` finds, each key once: one partner is enough to see the mistake."""
    told: set[str] = set()
    for one, other in itertools.combinations(drafts, 2):
        for problem in check_pair(one, other):
            if problem.key not in told:
                told.add(problem.key)
                yield problem


def _is_far(target: Target) -> bool:
    return not all(host.is_loopback for host in target.hosts)


def _given(tenant: Tenant) -> Iterator[tuple[str, str]]:
    """Yield (key, role) for each role that the tenant's users can get or that it defines."""
    for role in tenant.default_roles:
        yield "default_roles", role
    for at, mapping in enumerate(tenant.groups):
        for role in mapping.roles:
            yield f"groups[{at}].roles", role
    for role in tenant.roles:
        yield f"roles.{role}", role


def _protected(role: str, marker: str) -> str | None:
    folded = fold(role)
    if folded in PROTECTED:
        return "belongs to the server's administrators"
    if role == marker:
        return "marks who is managed and is given by the software itself"
    if folded.startswith(PROTECTED_PREFIX):
        return f"begins with {PROTECTED_PREFIX}, which is kept for the software itself"
    return None


def _can_collide(one: Draft, other: Draft) -> bool:
    """Whether some name fits both templates. Compared folded: careful where ClickHouse is exact."""
    first, second = one.tenant, other.tenant
    if first.user_name.is_bare and second.user_name.is_bare:
        domains = (set(first.verified_domains), set(second.verified_domains))
        return not (all(domains) and domains[0].isdisjoint(domains[1]))
    before, after = zip(
        map(fold, first.user_name.around(one.name)),
        map(fold, second.user_name.around(other.name)),
        strict=True,
    )
    apart = not (before[0].startswith(before[1]) or before[1].startswith(before[0])) or not (
        after[0].endswith(after[1]) or after[1].endswith(after[0])
    )
    return not apart
