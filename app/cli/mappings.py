"""What `access groups` does: tell which group is behind each entry of the role map."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from app.config.rolemap import Gift, RoleMap
from app.config.tenant import Tenant
from app.directory.link import Link
from app.directory.reader import Reader
from app.directory.subjects import Subjects

_NAME = "name:"


@dataclass(frozen=True, slots=True)
class _Entry:
    """`group`: the id behind it, None for none yet. `name`: the displayName that it was linked by;
    None where that was an externalId.
    """

    mapping: str
    group: str | None
    name: str | None
    gift: Gift


async def mapped(link: Link, tenant: str, configured: Tenant) -> list[dict[str, Any]]:
    """Return a row for each entry about one group, then one for each group that gives something for
    its name alone.

    `state` is `linked`, `renamed` where the group is called otherwise by now, or `missing` where no
    group was seen yet. `taken_by`: the id of another group that has the name, and gives nothing.
    """
    role_map = RoleMap.of(configured)
    subjects = Subjects(link, tenant, configured.targets[0])
    entries = list(_entries(role_map, await subjects.links(), await subjects.likes(None)))
    reader = Reader(link, tenant)
    groups = await reader.get_many("group", [one.group for one in entries if one.group])
    names = {i: str(stored.document["displayName"]) for i, stored in groups.items()}
    return [await _row(reader, tenant, entry, names) for entry in entries]


def _entries(
    role_map: RoleMap, links: Mapping[str, str], likes: Mapping[str, str]
) -> Iterator[_Entry]:
    for key, gifts in role_map.exact.items():
        name = key.removeprefix(_NAME) if key.startswith(_NAME) else None
        for gift in gifts:
            yield _Entry(key, links.get(key), name, gift)
    linked = {links[key] for key in role_map.exact if key in links}
    for group, name in sorted(likes.items(), key=lambda one: (one[1], one[0])):
        if group not in linked:
            for _, gift in role_map.gifts([group], {}, {group: name}):
                yield _Entry("unmapped_groups" if gift.is_made else "pattern", group, name, gift)


async def _row(
    reader: Reader, tenant: str, entry: _Entry, names: Mapping[str, str]
) -> dict[str, Any]:
    called = names.get(entry.group or "")
    others = [] if entry.name is None else await reader.find("group", "displayName", entry.name)
    taken_by = next((i for i in others if i != entry.group), None) if called else None
    state = "linked"
    if called is None:
        state = "missing"
    elif entry.name is not None and entry.group not in others:
        state = "renamed"
    return {
        "tenant": tenant,
        "mapping": entry.mapping,
        "name": entry.name,
        "group_id": entry.group if called else None,
        "display_name": called,
        "state": state,
        "taken_by": taken_by,
        "roles": list(entry.gift.roles),
    }
