"""Placeholders: what they give, and that nothing is ever sent with a hole in it."""

from __future__ import annotations

import json

import pytest

from app.sandbox.cast import Cast, load_cast
from app.sandbox.staging import happen, keep, point, rehearse, render, render_request, scopes
from app.sandbox.story import Company, Exchange, Expect, Step, Story, StoryError, parse_story

OK = Expect(status=[200])


@pytest.fixture
def cast() -> Cast:
    cast = load_cast()
    for number, person in enumerate(cast.everybody()):
        person.id = f"id-{number}"
    return cast


def story(**changes: object) -> Story:
    exchange = {"method": "GET", "path": "/Users", "expect": {"status": [200]}, **changes}
    return parse_story(
        "mine",
        json.dumps(
            {
                "title": "t",
                "idp": "entra",
                "dialect": "d",
                "source": "s",
                "about": "a",
                "steps": [{"step": "one", "requests": [exchange]}],
            }
        ),
    )


RENDERED = {
    "plain": ("hello", "hello"),
    "a value stays what it is": ("{people.zoe-brule.active}", True),
    "inside a text it is text": ("is {people.zoe-brule.active}", "is True"),
    "two in one": (
        "{people.zoe-brule.givenName} {people.zoe-brule.familyName}",
        "Zoë Brûlé",
    ),
    "numbers, null and false": ([1, None, False], [1, None, False]),
    "within objects and lists": (
        {"a": [{"b": "{people.li-wei.title}"}]},
        {"a": [{"b": "Data Engineer"}]},
    ),
    "a merge": ({"$merge": [{"a": 1, "b": 2}, {"b": 3}]}, {"a": 1, "b": 3}),
}


@pytest.mark.parametrize(("value", "rendered"), RENDERED.values(), ids=RENDERED.keys())
def test_placeholders_give_the_values_of_the_cast(
    cast: Cast, value: object, rendered: object
) -> None:
    assert render(value, cast.scope()) == rendered


def test_a_list_is_made_from_the_members_of_a_group(cast: Cast) -> None:
    form = {"$each": {"member": "groups.payroll.members"}, "$give": {"value": "{member.id}"}}
    payroll = cast.groups["payroll"].members
    assert render(form, cast.scope()) == [{"value": member.id} for member in payroll]


REFUSED = {
    "nobody": ("{people.nobody.id}", "there is no `nobody`"),
    "no such value": ("{people.zoe-brule.shoeSize}", "there is no `shoeSize`"),
    "not yet known": ("{groups.sales.id}", "before an answer has given it"),
    "never bound": ("{person.id}", "there is no `person`"),
    "a stray brace": ("{people.zoe-brule.id", "a brace"),
    "an empty placeholder": ("{}", "there is no ``"),
    "a list of one person": (
        {"$each": {"m": "people.zoe-brule"}, "$give": 1},
        "is not a list",
    ),
}


@pytest.mark.parametrize(("value", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_a_placeholder_without_a_value_is_refused(cast: Cast, value: object, reason: str) -> None:
    with pytest.raises(StoryError, match=reason):
        render(value, cast.scope())


def test_a_rehearsal_names_file_step_and_placeholder() -> None:
    with pytest.raises(StoryError, match=r"^mine\.json \$\.steps\[0\] `people\.zoe-brule\.id`"):
        list(rehearse([story(path="/Users/{people.zoe-brule.id}")], load_cast()))


@pytest.mark.parametrize(
    ("spaces", "query"),
    [
        ("%20", "filter=userName%20eq%20%22lena.vogt%2Bcontractor%40acme.example%22"),
        ("+", "filter=userName+eq+%22lena.vogt%2Bcontractor%40acme.example%22"),
    ],
)
def test_a_query_is_encoded_as_its_identity_provider_does(
    cast: Cast, spaces: str, query: str
) -> None:
    told = story(query={"filter": 'userName eq "{people.lena-vogt.userName}"'})
    told = parse_story("mine", json.dumps({**_document(told), "spaces": spaces}))
    request = render_request(told, told.steps[0].requests[0], cast.scope())
    assert request.target == f"/Users?{query}"


def test_a_step_runs_through_everybody_in_the_order_of_the_cast(cast: Cast) -> None:
    step = Step(
        step="s",
        for_each={"person": "people"},
        requests=[Exchange(method="GET", path="/Users", expect=OK)],
    )
    assert [scope["person"] for scope in scopes(step, cast)] == list(cast.people.values())


def test_the_company_changes_the_cast_before_anything_is_sent(cast: Cast) -> None:
    zoe = cast.people["zoe-brule"]
    happen(
        Company(
            leave={"groups.data-analysts": ["people.zoe-brule"]},
            join={"groups.finance": ["people.zoe-brule"]},
            set={"people.zoe-brule.familyName": "Martin"},
        ),
        cast,
    )
    assert zoe not in cast.groups["data-analysts"].members
    assert cast.groups["finance"].members[-1] is zoe
    assert zoe.family_name == "Martin"


def test_somebody_who_is_deleted_is_in_no_group_any_more(cast: Cast) -> None:
    happen(Company(delete=["people.zoe-brule"]), cast)
    zoe = cast.people["zoe-brule"]
    assert zoe.deleted
    assert [group.key for group in cast.groups.values() if zoe in group.members] == []


def test_an_answer_is_kept_only_where_a_record_has_room_for_it(cast: Cast) -> None:
    good = Exchange(method="GET", path="/x", expect=OK, save={"people.zoe-brule.id": "/id"})
    keep(good, cast.scope(), {"id": "new"})
    assert cast.people["zoe-brule"].id == "new"
    bad = Exchange(method="GET", path="/x", expect=OK, save={"people.zoe-brule.title": "/id"})
    with pytest.raises(StoryError, match="only be saved as `id` or `remote`"):
        keep(bad, cast.scope(), {"id": "new"})


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("", {"a": [{"b/c": 1}], "d~": 2}),
        ("/a/0/b~1c", 1),
        ("/d~0", 2),
        ("/a/1", None),
        ("/a/x", None),
        ("/d~0/e", None),
        ("/nothing", None),
    ],
)
def test_a_pointer_finds_a_value_or_none(pointer: str, value: object) -> None:
    assert point({"a": [{"b/c": 1}], "d~": 2}, pointer) == value


def _document(told: Story) -> dict[str, object]:
    exchange = told.steps[0].requests[0]
    return {
        "title": told.title,
        "idp": told.idp,
        "dialect": told.dialect,
        "source": told.source,
        "about": told.about,
        "steps": [
            {
                "step": "one",
                "requests": [
                    {
                        "method": exchange.method,
                        "path": exchange.path,
                        "query": exchange.query,
                        "expect": {"status": [200]},
                    }
                ],
            }
        ],
    }
