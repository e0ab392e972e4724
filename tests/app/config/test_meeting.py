from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from app.config.meeting import Form, first_met

_TEXTS = st.text("ab_", max_size=3)  # few letters, so that they meet
_FORMS = st.lists(st.builds(Form, _TEXTS, _TEXTS), max_size=8)


@given(_FORMS)
def test_who_meets_an_earlier_one_is_told_with_the_earliest(forms: list[Form]) -> None:
    expected: dict[int, int] = {}
    for (one, its), (other, theirs) in combinations(enumerate(forms), 2):
        if its.can_meet(theirs):
            expected.setdefault(other, one)
    assert dict(first_met(dict(enumerate(forms)))) == expected


@given(_FORMS, _TEXTS)
def test_forms_that_cannot_meet_give_no_text_twice(forms: list[Form], between: str) -> None:
    for one, other in combinations(forms, 2):
        if not one.can_meet(other):
            text = one.before + between + one.after
            long_enough = len(text) >= len(other.before) + len(other.after)
            assert not (
                long_enough and text.startswith(other.before) and text.endswith(other.after)
            )
