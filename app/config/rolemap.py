"""Which roles a tenant's groups give on a target: the role map as its readers need it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from app.config.network import as_host
from app.config.pattern import fill, parts_of
from app.config.tenant import GroupMapping, Tenant
from app.scim.text import fold

LIKE = "like"  # stands for the name of a group beside the keys that it has


@dataclass(frozen=True, slots=True)
class Gift:
    """What a group gives its members: `roles`, and how they hold them.

    `is_default`: active at log-in; `is_admin`: they may hand them on. `until`: when it ends for
    all, in seconds since 1970; `until_attribute`: what says when it ends for each. `hosts`: where
    they have to come from, as `system.users` writes it.
    """

    roles: tuple[str, ...]
    is_default: bool = True
    is_admin: bool = False
    is_made: bool = False
    until: int | None = None
    until_attribute: str | None = None
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pattern:
    """What groups with a name that fits `text` give; the roles have places for its parts."""

    text: str
    gift: Gift


@dataclass(frozen=True, slots=True)
class RoleMap:
    """`exact`: by key ("name:" + the folded displayName, or "ext:" + externalId) what that group
    gives. `patterns`: in the file's order. `prefix`: what the role of a group that nothing else
    speaks for begins with; None if it gives none. `vocabulary`: every role that the file names.
    """

    exact: Mapping[str, tuple[Gift, ...]]
    patterns: tuple[Pattern, ...]
    prefix: str | None
    default_roles: frozenset[str]
    vocabulary: frozenset[str]

    @classmethod
    def of(cls, tenant: Tenant, target: str | None = None) -> RoleMap:
        """Return the role map of `tenant` on `target`, or the entries of all targets together."""
        exact: dict[str, list[Gift]] = {}
        patterns: list[Pattern] = []
        for entry in tenant.groups:
            if target is not None and entry.targets and target not in entry.targets:
                continue
            if entry.pattern is not None:
                patterns.append(Pattern(entry.pattern, _gift(entry)))
            else:
                exact.setdefault(_key(entry), []).append(_gift(entry))
        default = frozenset(tenant.default_roles)
        named = (role for gifts in exact.values() for gift in gifts for role in gift.roles)
        return cls(
            exact={key: tuple(exact[key]) for key in sorted(exact)},
            patterns=tuple(patterns),
            prefix=tenant.role_prefix if tenant.unmapped_groups == "create" else None,
            default_roles=default,
            vocabulary=default.union(named, _fixed(patterns)),
        )

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(self.exact)

    @property
    def reads_names(self) -> bool:
        """Whether groups that no entry names may give something, by what they are called."""
        return bool(self.patterns) or self.prefix is not None

    def keys_for(self, display_name: str, external_id: str | None) -> tuple[str, ...]:
        """Return the keys of the mappings that fit a group of this name and externalId, and LIKE
        where it may give something for its name.

        Names ignore case, externalId does not (RFC 7643 §3.1).
        """
        wanted = {name_key(display_name)}
        if external_id is not None:
            wanted.add(f"ext:{external_id}")
        like = (LIKE,) if self.reads(display_name) else ()
        return (*(key for key in self.exact if key in wanted), *like)

    def reads(self, display_name: str) -> bool:
        """Whether a group gives something for its name, if no entry is about it."""
        return self.prefix is not None or self._by_pattern(display_name) is not None

    def gifts(
        self, groups: Iterable[str], links: Mapping[str, str], names: Mapping[str, str]
    ) -> Iterator[tuple[str, Gift]]:
        """Yield (group, what it gives) for these groups, without the default roles.

        `links`: the group behind each key; keys that the map no longer has give nothing, since the
        file was changed. `names`: what groups were called when they were first read for their name.
        An entry about the group goes before patterns; of those the first that fits counts alone.
        """
        keys: dict[str, list[str]] = {}
        for key, group in links.items():
            if key in self.exact:
                keys.setdefault(group, []).append(key)
        for group in sorted(groups):
            if group in keys:
                for key in sorted(keys[group]):
                    yield from ((group, gift) for gift in self.exact[key])
            elif group in names:
                gift = self._by_pattern(names[group]) or self._made(names[group])
                if gift is not None:
                    yield group, gift

    def _by_pattern(self, name: str) -> Gift | None:
        for pattern in self.patterns:
            if (parts := parts_of(name, pattern.text)) is not None:
                roles = tuple(fill(role, parts) for role in pattern.gift.roles)
                return replace(pattern.gift, roles=roles)
        return None

    def _made(self, name: str) -> Gift | None:
        return None if self.prefix is None else Gift((f"{self.prefix}{name}",), is_made=True)


def _gift(entry: GroupMapping) -> Gift:
    return Gift(
        roles=tuple(sorted(entry.roles)),
        is_default=entry.default,
        is_admin=entry.admin_option,
        until=None if entry.until is None else int(entry.until.timestamp()),
        until_attribute=entry.until_attribute,
        hosts=tuple(sorted(map(as_host, entry.networks))),
    )


def _key(entry: GroupMapping) -> str:
    return name_key(entry.group) if entry.group is not None else f"ext:{entry.external_id}"


def _fixed(patterns: Iterable[Pattern]) -> Iterator[str]:
    """Yield the roles of patterns whose names have no places."""
    return (role for pattern in patterns for role in pattern.gift.roles if "{" not in role)


def name_key(display_name: str) -> str:
    return f"name:{fold(display_name)}"


def digest(tenant: Tenant) -> str:
    """Return a hash of everything in `tenant` that changes what its users hold on a target.

    Equal for files that differ in the order of entries about groups only, where it doesn't matter.
    Targets are left out: each lane knows its own.
    """
    told = tenant.model_dump(
        mode="json",
        exclude={"targets", "groups", "verified_domains", "schemas", "applied_state"},
    )
    entries = [entry.model_dump(mode="json") for entry in tenant.groups]
    for entry in entries:
        entry["roles"] = sorted(entry["roles"])
        entry["targets"] = sorted(entry["targets"])
    told["patterns"] = [entry for entry in entries if entry["pattern"] is not None]
    told["groups"] = sorted(
        json.dumps(entry, sort_keys=True) for entry in entries if entry["pattern"] is None
    )
    told["default_roles"] = sorted(tenant.default_roles)
    text = json.dumps(told, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
