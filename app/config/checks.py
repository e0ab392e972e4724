"""Mistakes between tables: targets that are missing, names that collide, roles out of reach."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from app.config.meeting import Form, first_met
from app.config.protected import why_protected
from app.config.suggest import closest
from app.config.target import Target
from app.config.tenant import NoPassword, SshKey, Tenant
from app.errors import Problem
from app.scim.text import fold

_HAS_NOT = "add it to the tenant's targets or leave it out here"


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
    yield from _check_groups(draft)
    yield from _check_roles(draft, targets)
    if draft.legible("roles"):
        yield from _check_parents(draft)


def _check_groups(draft: Draft) -> Iterator[Problem]:
    tenant = draft.tenant
    for at, mapping in enumerate(tenant.groups):
        for name in mapping.targets:
            if name not in tenant.targets and draft.legible("targets"):
                yield draft.problem(
                    f"groups[{at}].targets", f"{name} is no target of this tenant; {_HAS_NOT}"
                )
        if mapping.until_attribute is not None:
            yield from _check_attribute(draft, f"groups[{at}].", mapping.until_attribute)
    if tenant.until_attribute is not None:
        yield from _check_attribute(draft, "", tenant.until_attribute)
    for way in tenant.ways:
        if isinstance(way, SshKey) and draft.legible("schemas"):
            urn, _, name = way.keys.rpartition(":")
            schema = tenant.schemas.get(urn)
            declared = [one.type for one in schema.attributes if one.name == name] if schema else []
            if declared != ["string"]:
                reason = f"{way.keys} is no string that schemas declares; declare it, spelt alike"
                yield draft.problem("authentication.keys", reason)


def _check_attribute(draft: Draft, where: str, path: str) -> Iterator[Problem]:
    """Yield a mistake unless `path` is a dateTime of an extension that the tenant declares."""
    if not draft.legible("schemas"):
        return
    urn, _, name = path.rpartition(":")
    schema = draft.tenant.schemas.get(urn)
    found = [one for one in schema.attributes if one.name == name] if schema else []
    if not found:
        reason = "is no attribute that schemas declares; declare it, spelt alike"
    elif found[0].type != "dateTime" or found[0].multi_valued:
        reason = "must be one dateTime, and not a list"
    else:
        return
    yield draft.problem(f"{where}until_attribute", f"{path} {reason}")


def _check_parents(draft: Draft) -> Iterator[Problem]:
    """Yield roles that would hold themselves, straight or through others."""
    roles = draft.tenant.roles
    for name in roles:
        seen, waiting = {""}, [*roles[name].parents]
        while waiting:
            parent = waiting.pop()
            if parent == name:
                yield draft.problem(f"roles.{name}.parents", f"{name} would hold itself; mend that")
                break
            if parent in roles and parent not in seen:
                waiting += roles[parent].parents
            seen.add(parent)


def _check_roles(draft: Draft, targets: Mapping[str, Target]) -> Iterator[Problem]:
    tenant = draft.tenant
    for given in _given(tenant):
        here = [targets[name] for name in given.targets if name in targets]
        listed = {role for target in here for role in target.protected_roles}
        if (why := why_protected(given.role, tenant.marker_role, listed)) is not None:
            yield draft.problem(given.key, f"role {given.role} {why}; use another role")
        elif any(given.role in {target.user, *target.protected_users} for target in here):
            yield draft.problem(
                given.key,
                f"role {given.role} has the name of an account that is protected there, which"
                " ClickHouse would take for it; use another role",
            )
    prefix = tenant.role_prefix if tenant.unmapped_groups == "create" else None
    if prefix is not None and (why := why_protected(prefix, tenant.marker_role)) is not None:
        yield draft.problem("role_prefix", f"{prefix} {why}; use another prefix")


def check_sharing(drafts: Sequence[Draft]) -> Iterator[Problem]:
    """Yield what keeps tenants from sharing a target: nothing may cross between two of them.

    Each key is told once: one partner is enough to see the mistake.
    """
    told: set[str] = set()
    found = (*_markers(drafts), *_names(drafts), *_definitions(drafts), *_prefixes(drafts))
    for problem in found:
        if problem.key not in told:
            told.add(problem.key)
            yield problem


def _markers(drafts: Sequence[Draft]) -> Iterator[Problem]:
    """Yield markers that two tenants have, and roles that are another tenant's marker."""
    owners: dict[tuple[str, str], str] = {}
    for draft in drafts:
        if not draft.legible("marker_role"):
            continue
        for target in draft.tenant.targets:
            owner = owners.setdefault((target, draft.tenant.marker_role), draft.name)
            if owner != draft.name:
                where = f"shares target {target} with tenant {owner}"
                yield draft.problem(
                    "marker_role", f"{where}, which has this marker too; give each its own"
                )
    for draft in drafts:
        for target in draft.tenant.targets:
            for given in _given(draft.tenant):
                owner = owners.get((target, given.role), draft.name)
                if owner != draft.name and target in given.targets:
                    reason = f"role {given.role} marks the users of tenant {owner}"
                    yield draft.problem(given.key, reason)


def _prefixes(drafts: Sequence[Draft]) -> Iterator[Problem]:
    """Yield prefixes with which groups of two tenants could be given one role."""
    creating = [
        one
        for one in drafts
        if one.tenant.unmapped_groups == "create" and one.legible("role_prefix")
    ]
    for target, here in _by_target(creating).items():
        forms = {one.name: Form(one.tenant.role_prefix or "", "") for one in here}
        told = {one.name: one for one in here}
        for name, met in first_met(forms):
            where = f"shares target {target} with tenant {met}, which has {forms[met].before}"
            yield told[name].problem(
                "role_prefix", f"{where}: their groups could get one role; begin it differently"
            )


def _definitions(drafts: Sequence[Draft]) -> Iterator[Problem]:
    """Yield roles that two tenants define differently on one target."""
    first: dict[tuple[str, str], tuple[str, str]] = {}
    for draft in drafts:
        for role, definition in draft.tenant.roles.items():
            written = repr(definition)
            for target in draft.tenant.targets:
                owner, its = first.setdefault((target, role), (draft.name, written))
                if its != written:
                    where = f"shares target {target} with tenant {owner}"
                    yield draft.problem(
                        f"roles.{role}",
                        f"{where}, which defines it differently; define it alike or rename one",
                    )


def _names(drafts: Sequence[Draft]) -> Iterator[Problem]:
    """Yield templates of two tenants on one target that can give one name."""
    legible = [one for one in drafts if one.legible("user_name", "verified_domains")]
    for target, here in _by_target(legible).items():
        told = {one.name: one for one in here}
        for name, met in _who_meet({one.name: one.tenant for one in here}):
            where = f"shares target {target} with tenant {met}"
            yield told[name].problem(
                "user_name",
                f"{where}, and their users could get one name; put {{tenant}} into both templates"
                " or give them different verified_domains",
            )


def _who_meet(tenants: Mapping[str, Tenant]) -> Iterator[tuple[str, str]]:
    """Yield tenants that can give a name of an earlier one's, and that one.

    Folded: careful where ClickHouse is exact. Whole user names are told apart by their domains, but
    from no others: a user who has no access may be of any domain.
    """
    whole = {name: one for name, one in tenants.items() if one.user_name.is_bare}
    others = {
        name: Form(*map(fold, one.user_name.around(name)))
        for name, one in tenants.items()
        if name not in whole
    }
    yield from first_met(others)
    domains = {
        (name, domain): Form("", f"@{domain}" if domain else "")
        for name, one in whole.items()
        for domain in one.verified_domains or ("",)
    }
    for (name, _), (met, _) in first_met(domains):
        yield name, met
    before: dict[bool, str] = {}
    for name in tenants:
        before.setdefault(name in whole, name)
        if (met_other := before.get(name not in whole)) is not None:
            yield name, met_other


def _by_target(drafts: Iterable[Draft]) -> Mapping[str, list[Draft]]:
    sharing: defaultdict[str, list[Draft]] = defaultdict(list)
    for draft in drafts:
        for target in draft.tenant.targets:
            sharing[target].append(draft)
    return sharing


def _is_far(target: Target) -> bool:
    return not all(host.is_loopback for host in target.hosts)


@dataclass(frozen=True, slots=True)
class _Given:
    """A role that the tenant's users can get, or that it defines, and where."""

    key: str
    role: str
    targets: tuple[str, ...]


def _given(tenant: Tenant) -> Iterator[_Given]:
    for role in tenant.default_roles:
        yield _Given("default_roles", role, tenant.targets)
    for at, mapping in enumerate(tenant.groups):
        for role in mapping.roles:
            yield _Given(f"groups[{at}].roles", role, mapping.targets or tenant.targets)
    for role, definition in tenant.roles.items():
        yield _Given(f"roles.{role}", role, tenant.targets)
        for parent in definition.parents:
            yield _Given(f"roles.{role}.parents", parent, tenant.targets)
