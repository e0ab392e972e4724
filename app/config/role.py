"""What a defined role has beside its grants: settings with bounds, row filters, a quota."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Tag

from app.config.expression import check_expression
from app.config.section import Flag, Section

_EVERY = re.compile(r"([1-9][0-9]{0,5}) (second|minute|hour|day|week)s?")
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}


def seconds(every: str) -> int:
    """Return an interval such as "1 hour" in seconds. Raises ValueError if it is none."""
    match = _EVERY.fullmatch(every)
    if match is None:
        raise ValueError('is no interval; write it as "1 hour", in seconds, minutes, hours, days')
    return int(match[1]) * _SECONDS[match[2]]


def _every(text: str) -> str:
    seconds(text)
    return text


def _plain(value: object) -> object:
    if not isinstance(value, str | int | float):
        raise ValueError("must be a number, text, true or false")  # noqa: TRY004 - for pydantic
    if isinstance(value, str) and not value.isprintable():
        raise ValueError("has an unprintable character; leave it out")
    return value


def _amount(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise ValueError("must be a number, 0 or more")
    return value


Plain = Annotated[int | float | str | bool, BeforeValidator(_plain)]
Bound = Annotated[int | float | str, BeforeValidator(_plain)]


class BoundedSetting(Section):
    """A setting that users may change between bounds, or, if `const`, not at all."""

    value: Plain | None = None
    min: Bound | None = None
    max: Bound | None = None
    const: Flag = False


class FilterTable(Section):
    """A row filter that says how it goes together with others."""

    filter: Annotated[str, AfterValidator(check_expression)]
    restrictive: Flag = False


def _kind(value: object) -> Literal["table", "plain"]:
    return "table" if isinstance(value, Mapping | Section) else "plain"


SettingValue = Annotated[
    Annotated[BoundedSetting, Tag("table")] | Annotated[Plain, Tag("plain")], Discriminator(_kind)
]
FilterValue = Annotated[
    Annotated[FilterTable, Tag("table")]
    | Annotated[Annotated[str, AfterValidator(check_expression)], Tag("plain")],
    Discriminator(_kind),
]
Limit = Literal[
    "queries",
    "query_selects",
    "query_inserts",
    "errors",
    "result_rows",
    "result_bytes",
    "read_rows",
    "read_bytes",
    "written_bytes",
    "execution_time",
]
Every = Annotated[str, AfterValidator(_every)]
Amount = Annotated[int | float, BeforeValidator(_amount)]
