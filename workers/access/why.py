"""Why somebody has a role: which group, by which way, by which entry of the role map; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from app.config.rolemap import RoleMap

DEFAULT = "default_roles"


@dataclass(frozen=True, slots=True)
class Reason:
    """`mapping`: the key of the entry (`name:…`, `ext:…`), `pattern …`, or `default_roles`.

    `groups`: from the group that the entry is about down to the one that the user is a member of,
    by id; none for `default_roles`. `until`: when this reason ends, in seconds since 1970.
    """

    mapping: str
    groups: tuple[str, ...] = ()
    until: int | None = None


def reasons(
    role_map: RoleMap,
    direct: frozenset[str],
    above: Mapping[str, frozenset[str]],
    links: Mapping[str, str],
    names: Mapping[str, str],
) -> dict[str, list[Reason]]:
    """Return, by role, why somebody is to have it who is a member of the groups `direct`.

    `above`: the groups that each group is in. `links`, `names`: as in `RoleMap.gifts`, which
    decides. An end that a person's own attribute sets is not told.
    """
    found: dict[str, list[Reason]] = {
        role: [Reason(DEFAULT)] for role in sorted(role_map.default_roles)
    }
    paths = dict(_paths(direct, above))
    for group, gift in role_map.gifts(paths, links, names):
        keys = [k for k, g in links.items() if g == group and gift in role_map.exact.get(k, ())]
        mapping = keys[0] if keys else f"pattern for {names.get(group, group)}"
        for role in gift.roles:
            reason = Reason(mapping, paths[group], gift.until)
            if reason not in (known := found.setdefault(role, [])):
                known.append(reason)
    return found


def _paths(
    direct: frozenset[str], above: Mapping[str, frozenset[str]]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each group with a shortest way down to a member of `direct`."""
    paths: dict[str, tuple[str, ...]] = {group: (group,) for group in sorted(direct)}
    waiting = list(paths)
    while waiting:
        group = waiting.pop(0)
        yield group, paths[group]
        for parent in sorted(above.get(group, frozenset()) - paths.keys()):
            paths[parent] = (parent, *paths[group])
            waiting.append(parent)
