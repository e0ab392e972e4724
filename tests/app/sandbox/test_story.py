"""The stories that come with the software load, and a malformed one is refused with its place."""

from __future__ import annotations

import json

import pytest

from app.sandbox.cast import Expected, demo_role_map, expected_access, load_cast
from app.sandbox.staging import rehearse, render
from app.sandbox.story import (
    StoryError,
    day_of,
    load_chain,
    load_story,
    parse_story,
    story_names,
    story_schema,
)

DIALECTS = [
    ("okta", "aiw"),
    ("okta", "oin"),
    ("entra", "default"),
    ("entra", "aadOptscim062020"),
]
EVENTS = ["connection_test", "first_sync", "movers", "leavers", "group_rename", "rehire"]

EXCHANGE = {"method": "GET", "path": "/Users", "expect": {"status": [200]}}
STORY = {
    "title": "t",
    "idp": "okta",
    "dialect": "d",
    "source": "s",
    "about": "a",
    "steps": [{"step": "one", "requests": [EXCHANGE]}],
}


def with_exchange(**changes: object) -> dict[str, object]:
    return {**STORY, "steps": [{"step": "one", "requests": [{**EXCHANGE, **changes}]}]}


@pytest.mark.parametrize("name", story_names())
def test_a_story_can_be_rehearsed_after_those_it_builds_on(name: str) -> None:
    """Every placeholder names a value of the cast, or one that an earlier answer has given."""
    assert list(rehearse(load_chain(name), load_cast()))


@pytest.mark.parametrize("dialect", DIALECTS, ids="-".join)
def test_each_dialect_tells_the_whole_day(dialect: tuple[str, str]) -> None:
    names = " ".join(story.name for story in day_of(*dialect))
    assert [event for event in EVENTS if event not in names] == []


@pytest.mark.parametrize("dialect", DIALECTS, ids="-".join)
def test_the_access_that_a_story_states_follows_from_its_cast(dialect: tuple[str, str]) -> None:
    """The facts in the files and the access computed from groups and role map check each other."""
    cast, role_map = load_cast(), demo_role_map()
    for story in day_of(*dialect):
        list(rehearse([story], cast))
        access = expected_access(cast, role_map)
        for fact in story.access:
            user = str(render(fact.user, cast.scope()))
            stated = Expected(fact.state, frozenset(fact.roles))
            assert access.get(user, Expected("gone", frozenset())) == stated, (story.name, user)


@pytest.mark.parametrize("dialect", DIALECTS, ids="-".join)
def test_a_first_sync_pushes_200_people_and_12_groups(dialect: tuple[str, str]) -> None:
    first = next(story for story in day_of(*dialect) if story.name.endswith("first_sync"))
    posts = [
        request.target
        for request in rehearse(load_chain(first.name), load_cast())
        if request.method == "POST"
    ]
    assert (posts.count("/Users"), posts.count("/Groups")) == (200, 12)


def test_the_cast_has_the_names_that_break_software() -> None:
    names = {person.user_name for person in load_cast().everybody()}
    assert {
        "siobhan.o'brien@acme.example",
        "lena.vogt+contractor@acme.example",
        "søren.ærø@acme.example",
        "李.伟@acme.example",
        "Ingrid.Solberg@acme.example",
    } <= names
    assert len({name.casefold() for name in names}) == len(names) == 203


MALFORMED = {
    "not JSON": ("{", "truncated"),
    "no steps": ({**STORY, "steps": []}, r"\$\.steps"),
    "unknown key": ({**STORY, "step": []}, "unknown field `step`"),
    "unknown identity provider": ({**STORY, "idp": "ldap"}, r"\$\.idp"),
    "no such method": (with_exchange(method="FETCH"), r"\$\.steps\[0\]\.requests\[0\]\.method"),
    "a path with a query": (with_exchange(path="/Users?a=b"), r"requests\[0\]\.path"),
    "a status that is none": (
        with_exchange(expect={"status": [42]}),
        r"\$\.steps\[0\]\.requests\[0\]\.expect\.status\[0\]",
    ),
    "a pointer that is none": (
        with_exchange(expect={"status": [200], "json": {"id": 1}}),
        r"requests\[0\]\.expect\.json",
    ),
    "for each of two": (
        {
            **STORY,
            "steps": [{"step": "s", "forEach": {"a": "b", "c": "d"}, "requests": [EXCHANGE]}],
        },
        r"binds one name - at `\$\.steps\[0\]`",
    ),
    "roles for somebody who is locked": (
        {**STORY, "access": [{"user": "u", "state": "locked", "roles": ["r"]}]},
        r"no role - at `\$\.access\[0\]`",
    ),
}


@pytest.mark.parametrize(("story", "where"), MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_story_is_refused_with_its_place(
    story: dict[str, object] | str, where: str
) -> None:
    text = story if isinstance(story, str) else json.dumps(story)
    with pytest.raises(StoryError, match=where) as refused:
        parse_story("mine", text)
    assert refused.value.where == "mine.json"


def test_a_story_that_does_not_exist_is_told_with_those_that_do() -> None:
    with pytest.raises(StoryError, match="there are entra_connection_test, "):
        load_story("okta_holidays")


def test_the_schema_describes_a_story_file() -> None:
    definitions = story_schema()["$defs"]
    assert isinstance(definitions, dict)
    assert set(definitions["Story"]["required"]) >= {"title", "idp", "source", "steps"}
