"""The form of a story: what an identity provider sends, step by step, and what it expects back.

A story is a JSON file in `stories/`. It is data, so that tests, the demo and programs in other
languages can play it. What varies is a placeholder, `{person.userName}`, which names a value of
the cast; `staging` says how they are filled in. A file that does not have this form is refused with
the place of the mistake (`$.steps[3].requests[0].path`).
"""

from __future__ import annotations

from importlib import resources
from typing import Annotated, Any, Literal

import msgspec

from app.errors import ClickHouseScimError

Text = Annotated[str, msgspec.Meta(min_length=1)]
Status = Annotated[int, msgspec.Meta(ge=100, le=599)]
Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9_]+$")]
# A dotted way to a value: `people.zoe-brule.userName`, or `person.id` where a step binds `person`.
Way = Annotated[str, msgspec.Meta(pattern=r"^[a-z]+(\.[A-Za-z0-9-]+)*$")]
# RFC 6901; the empty pointer is the whole document.
Pointer = Annotated[str, msgspec.Meta(pattern=r"^(/.*)?$")]
Path = Annotated[str, msgspec.Meta(pattern=r"^/[^?#]*$")]


class StoryError(ClickHouseScimError):
    """A story is malformed, or names a value that is not there. `where`: file and place in it."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}")
        self.where, self.reason = where, reason


class Expect(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """What the identity provider needs to see in an answer.

    `json`: values by JSON pointer. `changes`: False where the same again must make no event, so
    that `X-Event-Seq` stays at the last one.
    """

    status: Annotated[list[Status], msgspec.Meta(min_length=1)]
    json: dict[Pointer, Any] = {}
    changes: bool = True


class Exchange(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"
):
    """One request. `save`: values of the answer to keep in the cast, `{"person.id": "/id"}`."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: Path
    query: dict[str, str] = {}
    headers: dict[str, str] = {}
    body: Any = None
    expect: Expect
    save: dict[Way, Pointer] = {}


class Company(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"
):
    """What happens in the company before a step: the reason why anything is sent."""

    leave: dict[Way, list[Way]] = {}
    join: dict[Way, list[Way]] = {}
    set: dict[Way, str | bool] = {}
    delete: list[Way] = []


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """One thing that an identity provider does: requests in this order, for each object if asked.

    `for_each`: one name and what it runs through, `{"person": "people"}` or a list of ways. Several
    objects are worked on at once, the requests of one object one after another.
    """

    step: Text
    company: Company | None = None
    for_each: dict[Name, Way | list[Way]] = {}
    requests: Annotated[list[Exchange], msgspec.Meta(min_length=1)]

    def __post_init__(self) -> None:
        if len(self.for_each) > 1:
            raise ValueError("`forEach` binds one name")


class Access(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """What a target holds for one user after the story; `roles` without the marker role."""

    user: Text
    state: Literal["open", "locked", "gone"] = "open"
    roles: list[str] = []

    def __post_init__(self) -> None:
        if self.state != "open" and self.roles:
            raise ValueError("somebody who is locked or gone holds no role")


class Story(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """What one kind of connection sends for one kind of event.

    `after`: the story that the same identity provider has played before, on whose cast this one
    builds. `source`: the public document that the form of the requests is taken from.
    `connection`: whether each request opens its own. `spaces`: how a query spells them.
    """

    title: Text
    idp: Literal["okta", "entra"]
    dialect: Text
    source: Text
    about: Text
    after: Name | None = None
    headers: dict[str, str] = {}
    connection: Literal["new", "kept"] = "kept"
    spaces: Literal["%20", "+"] = "%20"
    steps: Annotated[list[Step], msgspec.Meta(min_length=1)]
    access: list[Access] = []
    name: str = ""


def parse_story(name: str, text: bytes | str) -> Story:
    """Return the story; raise StoryError that says where it is malformed."""
    try:
        story = msgspec.json.decode(text, type=Story)
    except msgspec.DecodeError as error:  # ValidationError is one, with the place in its text
        raise StoryError(f"{name}.json", str(error)) from error
    return msgspec.structs.replace(story, name=name)


def story_names() -> list[str]:
    """Return the names of all stories that come with the software, sorted."""
    folder = resources.files("app.sandbox").joinpath("stories")
    return sorted(
        file.name.removesuffix(".json") for file in folder.iterdir() if file.name.endswith(".json")
    )


def load_story(name: str) -> Story:
    file = resources.files("app.sandbox").joinpath("stories", f"{name}.json")
    try:
        text = file.read_bytes()
    except FileNotFoundError as error:
        known = ", ".join(story_names())
        raise StoryError(f"{name}.json", f"no such story; there are {known}") from error
    return parse_story(name, text)


def load_chain(name: str) -> list[Story]:
    """Return the story with all that go before it, the first one first."""
    chain = [load_story(name)]
    while (before := chain[0].after) is not None:
        if before in {story.name for story in chain}:
            raise StoryError(f"{chain[0].name}.json", f"`after` leads back to {before}")
        chain.insert(0, load_story(before))
    return chain


def day_of(idp: str, dialect: str) -> list[Story]:
    """Return every story of one kind of connection, each after those that it builds on."""
    chains = [load_chain(name) for name in story_names()]
    ordered: dict[str, Story] = {}
    for chain in sorted(chains, key=lambda chain: (len(chain), chain[-1].name)):
        if (chain[-1].idp, chain[-1].dialect) == (idp, dialect):
            ordered.update((story.name, story) for story in chain)
    return list(ordered.values())


def story_schema() -> dict[str, object]:
    """Return the JSON Schema of a story file, for editors and for programs elsewhere."""
    schema: dict[str, object] = msgspec.json.schema(Story)
    return schema
