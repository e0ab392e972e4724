from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.config.template import Template, TemplateError
from app.errors import InvalidValue

RENDERED = {
    "bare": ("{userName}", "ana@acme.example"),
    "tenant in front": ("{tenant}__{userName}", "acme__ana@acme.example"),
    "tenant behind": ("{userName}.{tenant}", "ana@acme.example.acme"),
    "local part": ("{tenant}_{userName|localpart}", "acme_ana"),
    "fixed text": ("x {userName}'`", "x ana@acme.example'`"),
}


@pytest.mark.parametrize(("text", "name"), RENDERED.values(), ids=RENDERED.keys())
def test_a_template_renders_the_clickhouse_name(text: str, name: str) -> None:
    assert Template.parse(text).render(tenant="acme", user_name="ana@acme.example") == name


@pytest.mark.parametrize("user_name", ["ana", "@acme.example", "ana@", ""])
def test_a_local_part_needs_an_address(user_name: str) -> None:
    with pytest.raises(InvalidValue, match="userName must be an e-mail address"):
        Template.parse("{userName|localpart}").render(tenant="acme", user_name=user_name)


BAD = {
    "no user name": ("{tenant}", "once"),
    "empty": ("", "once"),
    "twice": ("{userName}{userName}", "once"),
    "both forms": ("{userName}{userName|localpart}", "once"),
    "unknown placeholder": ("{username}", "a template takes"),
    "unknown filter": ("{userName|upper}", "a template takes"),
    "open brace": ("{userName", "a template takes"),
    "stray brace": ("{userName}}", "a template takes"),
    "newline": ("{userName}\n", "unprintable"),
}


@pytest.mark.parametrize(("text", "reason"), BAD.values(), ids=BAD.keys())
def test_anything_else_is_no_template(text: str, reason: str) -> None:
    with pytest.raises(TemplateError, match=reason):
        Template.parse(text)


@given(
    st.sampled_from(["{userName}", "{tenant}{userName}", "a{userName}{tenant}a"]),
    st.text(),
    st.text(),
)
def test_two_user_names_never_share_a_clickhouse_name(text: str, one: str, other: str) -> None:
    template = Template.parse(text)
    names = {template.render(tenant="t", user_name=name) for name in (one, other)}
    assert len(names) == len({one, other})
