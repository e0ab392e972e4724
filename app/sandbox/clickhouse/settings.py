"""Settings that a client sends with one query, on an engine that only knows SET.

A server gives each query a copy of the session's settings. Here they are set before the query and
taken back before the next one that does not ask for the same; the engine checks the user's
constraints on the way, as a server does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from app.sandbox.clickhouse.engine import EngineSession
from app.sandbox.clickhouse.engine_config import CUSTOM_SETTINGS
from app.sandbox.clickhouse.faults import ServerError
from app.sandbox.clickhouse.tokens import Kind, parse_tokens, render_name, render_text

_UNKNOWN_SETTING = 115
_NOT_SET = "''"  # an empty text, which a custom setting that is not there counts as
_NUMBER = re.compile(r"(?:[A-Za-z]+[0-9]*_)?(-?[0-9]+(?:\.[0-9]*)?(?:e[-+]?[0-9]+)?)")


def is_custom(name: str) -> bool:
    """Tell whether a setting is of the user's own making: its values have types."""
    return name.startswith(CUSTOM_SETTINGS)


def parse_custom(value: str) -> str:
    """Return a custom setting's value, as native clients send it (`Field::dump`), for SQL."""
    if value == "NULL":
        return value
    if number := _NUMBER.fullmatch(value):
        return number[1]
    tokens = parse_tokens(value, 2)
    is_text = len(tokens) == 1 and tokens[0].kind is Kind.TEXT
    return render_text(tokens[0].value if is_text else value)


def render_setting(name: str, value: str) -> str:
    """Return `name = value` for SET. A custom setting's value is SQL already."""
    return f"{render_name(name)} = {value if is_custom(name) else render_text(value)}"


class CannotTakeBack(Exception):
    """A setting such as `readonly` forbids every change, its own end included."""


class QuerySettings:
    """`start`: the settings that the session began with, where they differ from the defaults."""

    def __init__(self, session: EngineSession, start: Mapping[str, str]) -> None:
        self._session = session
        self._start = start
        self._set_by_client = False
        self._before: dict[str, str | None] = {}  # None: the engine's default
        self._now: dict[str, str] = {}

    @property
    def are_untouched(self) -> bool:
        """Whether neither the query nor the client has changed what the session began with."""
        return not self._now and not self._set_by_client

    def note_set(self) -> None:
        """The client has run SET: what to go back to is the engine's to say from here on."""
        self._set_by_client = True

    def apply(self, wanted: Mapping[str, str], important: frozenset[str]) -> None:
        """Make `wanted`, and nothing of earlier queries, hold for the next one.

        Raises ServerError where the engine refuses (164 readonly, 452 constraint, 115 unknown and
        important), CannotTakeBack where an earlier one cannot be undone.
        """
        over = [name for name in self._now if name not in wanted]
        if over:
            self._take_back(over)
        changed = {name: value for name, value in wanted.items() if self._now.get(name) != value}
        if changed:
            self._set(changed, important)

    def _take_back(self, names: Iterable[str]) -> None:
        values = {name: self._before.pop(name) for name in names}
        try:
            self._session.run(f"SET {_render(values)}")
        except ServerError as error:
            raise CannotTakeBack from error
        for name in values:
            del self._now[name]

    def _set(self, values: Mapping[str, str], important: frozenset[str]) -> None:
        try:
            self._set_together(values)
        except ServerError as error:
            if error.code != _UNKNOWN_SETTING or important.issuperset(values):
                raise
            for name, value in values.items():
                self._set_one(name, value, important)

    def _set_one(self, name: str, value: str, important: frozenset[str]) -> None:
        """A setting that is not known is passed over unless the client calls it important."""
        try:
            self._set_together({name: value})
        except ServerError as error:
            if error.code != _UNKNOWN_SETTING or name in important:
                raise

    def _set_together(self, values: Mapping[str, str]) -> None:
        before = {name: self._value(name) for name in values if name not in self._now}
        self._session.run(f"SET {_render(values)}")
        self._before |= before
        self._now |= values

    def _value(self, name: str) -> str | None:
        if not self._set_by_client:
            return self._start.get(name)
        asked = self._session.rows(f"SELECT {ask_for(name)}")
        value: str = asked[0][0]
        return None if is_custom(name) and value == _NOT_SET else value


def ask_for(name: str) -> str:
    """Return what gives a setting's value in a SELECT, as `render_setting` takes it.

    Of a custom one in the way an array shows its elements, without the brackets; where it is not
    set, an empty text.
    """
    value = f"getSettingOrDefault({render_text(name)}, '')"
    if not is_custom(name):
        return f"toString({value})"
    return f"substring(toString([{value}]), 2, lengthUTF8(toString([{value}])) - 2)"


def _render(values: Mapping[str, str | None]) -> str:
    return ", ".join(
        f"{render_name(name)} = DEFAULT" if value is None else render_setting(name, value)
        for name, value in values.items()
    )
