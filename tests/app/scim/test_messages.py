"""Lists and errors in the form of RFC 7644."""

from __future__ import annotations

from app.errors import InvalidFilter, NotFound, Uniqueness
from app.scim.messages import ERROR, LIST_RESPONSE, error_body, list_response


def test_an_error_has_its_status_as_a_string_and_its_type() -> None:
    assert error_body(Uniqueness("userName: is taken")) == {
        "schemas": [ERROR],
        "status": "409",
        "scimType": "uniqueness",
        "detail": "userName: is taken",
    }


def test_an_error_without_a_type_of_its_own_has_none() -> None:
    assert error_body(NotFound("no such user")) == {
        "schemas": [ERROR],
        "status": "404",
        "detail": "no such user",
    }
    assert error_body(InvalidFilter("x"))["status"] == "400"


def test_a_list_of_nothing_has_all_its_figures_and_an_empty_list() -> None:
    assert list_response([], 0, 1, 0) == {
        "schemas": [LIST_RESPONSE],
        "totalResults": 0,
        "startIndex": 1,
        "itemsPerPage": 0,
        "Resources": [],
    }


def test_a_list_holds_the_resources_of_one_page() -> None:
    body = list_response([{"id": "1"}, {"id": "2"}], 7, 3, 2)
    assert body["Resources"] == [{"id": "1"}, {"id": "2"}]
    assert (body["totalResults"], body["startIndex"], body["itemsPerPage"]) == (7, 3, 2)
