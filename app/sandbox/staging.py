"""Filling a story's placeholders from the cast: pure, so that a story can be rehearsed unsent.

`{people.zoe-brule.userName}` alone in a string gives the value itself (true stays true), inside a
longer string its text. Two forms make what no placeholder can:

    {"$each": {"member": "group.members"}, "$give": {"value": "{member.id}"}}     a list
    {"$merge": ["{person.remote}", {"active": false}]}                the resource with one change

A name that nothing has set yet is a StoryError, never an empty string.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from urllib.parse import quote, quote_plus

import msgspec

from app.sandbox.cast import Cast, Group, Person
from app.sandbox.story import Company, Exchange, Step, Story, StoryError

Scope = Mapping[str, object]

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What goes out. `target`: path and query, encoded as this identity provider encodes them."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: object

    def __str__(self) -> str:
        return f"{self.method} {self.target}"


def look_up(way: str, scope: Scope) -> object:
    """Return the value that a dotted way leads to."""
    value: object = scope
    for name in way.split("."):
        if isinstance(value, Mapping) and name in value:
            value = value[name]
        elif isinstance(value, Person | Group) and name in _fields(type(value)):
            value = getattr(value, _fields(type(value))[name])
        else:
            raise StoryError(way, f"there is no `{name}`")
        if value is None:
            raise StoryError(way, f"`{name}` is used before an answer has given it")
    return value


def render(value: object, scope: Scope) -> object:
    """Return the value with every placeholder filled in."""
    if isinstance(value, str):
        return _render_text(value, scope)
    if isinstance(value, Mapping):
        if "$each" in value:
            return [render(value["$give"], inner) for inner in _bind(value["$each"], scope)]
        if "$merge" in value:
            return _merge([render(part, scope) for part in value["$merge"]])
        return {name: render(part, scope) for name, part in value.items()}
    if isinstance(value, Sequence):
        return [render(part, scope) for part in value]
    return value


def render_request(story: Story, exchange: Exchange, scope: Scope) -> Request:
    encode = quote_plus if story.spaces == "+" else quote
    query = "&".join(
        f"{encode(name, safe='')}={encode(str(render(text, scope)), safe='')}"
        for name, text in exchange.query.items()
    )
    path = quote(str(render(exchange.path, scope)))
    return Request(
        method=exchange.method,
        target=f"{path}?{query}" if query else path,
        headers={**story.headers, **exchange.headers},
        body=render(exchange.body, scope),
    )


def scopes(step: Step, cast: Cast) -> list[Scope]:
    """Return what the step's requests see: one scope for each object that it runs through."""
    return list(_bind(step.for_each, cast.scope())) if step.for_each else [cast.scope()]


def happen(company: Company | None, cast: Cast) -> None:
    """Change the cast as the company does: people move, change their names, are deleted."""
    if company is None:
        return
    scope = cast.scope()
    for way, leavers in company.leave.items():
        group = _group(way, scope)
        for leaver in leavers:
            group.members.remove(_person(leaver, scope))
    for way, joiners in company.join.items():
        _group(way, scope).members.extend(_person(joiner, scope) for joiner in joiners)
    for way, value in company.set.items():
        owner, _, name = way.rpartition(".")
        record = look_up(owner, scope)
        if not isinstance(record, Person | Group) or name not in _fields(type(record)):
            raise StoryError(way, "only a person or a group has values to set")
        setattr(record, _fields(type(record))[name], value)
    for way in company.delete:
        gone = look_up(way, scope)
        if isinstance(gone, Person):
            for group in cast.groups.values():
                if gone in group.members:
                    group.members.remove(gone)
        if isinstance(gone, Person | Group):
            gone.deleted = True


def keep(exchange: Exchange, scope: Scope, document: object) -> None:
    """Save what the exchange asks for from the answer into the cast."""
    for way, pointer in exchange.save.items():
        owner, _, name = way.rpartition(".")
        record = look_up(owner, scope)
        if not isinstance(record, Person | Group) or name not in ("id", "remote"):
            raise StoryError(way, "an answer can only be saved as `id` or `remote` of a record")
        setattr(record, name, point(document, pointer))


def point(document: object, pointer: str) -> object:
    """Return what a JSON pointer leads to (RFC 6901), None where nothing is."""
    for token in pointer.split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        if isinstance(document, Mapping):
            document = document.get(name)
        elif isinstance(document, list) and name.isdigit() and int(name) < len(document):
            document = document[int(name)]
        else:
            return None
    return document


def mismatches(exchange: Exchange, scope: Scope, status: int, document: object) -> list[str]:
    """Return what differs between the answer and what the story expects, in plain words."""
    expect = exchange.expect
    if status not in expect.status:
        wanted = " or ".join(map(str, expect.status))
        return [f"status {status} instead of {wanted}"]
    found = []
    for pointer, value in expect.json.items():
        wanted_value, actual = render(value, scope), point(document, pointer)
        if actual != wanted_value:
            found.append(f"{pointer} is {actual!r} instead of {wanted_value!r}")
    return found


def rehearse(stories: Sequence[Story], cast: Cast) -> Iterator[Request]:
    """Yield every request of the stories, in order, with made-up answers.

    Raises StoryError, with file and step, at the first placeholder that no earlier answer has set.
    """
    for story in stories:
        for number, step in enumerate(story.steps):
            try:
                happen(step.company, cast)
                for scope in scopes(step, cast):
                    for exchange in step.requests:
                        yield render_request(story, exchange, scope)
                        mismatches(exchange, scope, exchange.expect.status[0], None)
                        keep(exchange, scope, _made_up(exchange))
            except StoryError as error:
                where = f"{story.name}.json $.steps[{number}] `{error.where}`"
                raise StoryError(where, error.reason) from error
        for fact in story.access:
            render(fact.user, cast.scope())


def _render_text(text: str, scope: Scope) -> object:
    if re.search(r"[{}]", _PLACEHOLDER.sub("", text)):
        raise StoryError(text, "a brace that belongs to no placeholder")
    whole = _PLACEHOLDER.fullmatch(text)
    if whole:
        return look_up(whole[1], scope)
    return _PLACEHOLDER.sub(lambda found: str(look_up(found[1], scope)), text)


def _bind(binding: object, scope: Scope) -> Iterator[Scope]:
    if not isinstance(binding, Mapping) or len(binding) != 1:
        raise StoryError(str(binding), "binds one name, as in {'member': 'group.members'}")
    ((name, ways),) = binding.items()
    if isinstance(ways, str):
        found = look_up(ways, scope)
        items = list(found.values()) if isinstance(found, Mapping) else found
        if not isinstance(items, list):
            raise StoryError(ways, "is not a list to run through")
    else:
        items = [look_up(way, scope) for way in ways]
    for item in items:
        yield {**scope, name: item}


def _merge(parts: Sequence[object]) -> dict[str, object]:
    merged: dict[str, object] = {}
    for part in parts:
        if not isinstance(part, Mapping):
            raise StoryError(str(part), "only objects can be merged")
        merged.update(part)
    return merged


@cache
def _fields(kind: type[Person | Group]) -> dict[str, str]:
    """Return the fields of such a record: name in a story -> attribute."""
    return {field.encode_name: field.name for field in msgspec.structs.fields(kind)}


def _person(way: str, scope: Scope) -> Person:
    found = look_up(way, scope)
    if not isinstance(found, Person):
        raise StoryError(way, "is not a person")
    return found


def _group(way: str, scope: Scope) -> Group:
    found = look_up(way, scope)
    if not isinstance(found, Group):
        raise StoryError(way, "is not a group")
    return found


def _made_up(exchange: Exchange) -> dict[str, object]:
    """Return an answer in which everything that the exchange wants to save can be found."""
    document: dict[str, object] = {"id": "00000000-0000-4000-8000-000000000000", "meta": {}}
    for pointer in exchange.save.values():
        if pointer.startswith("/Resources/0"):
            document = {"Resources": [document]}
    return document
