"""Environment variables that stand over the file: `CLICKHOUSE_SCIM__TENANTS__ACME__ON_DELETE=lock`.

Each name is matched against the keys that the file has and those that a table may have, without
case, `-` written as `_`. So a variable that fits nothing is a mistake and not a silent no-op.
"""

from __future__ import annotations

import tomllib
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from app.config.settings import Settings
from app.config.suggest import closest
from app.errors import Problem

PREFIX = "CLICKHOUSE_SCIM__"


@dataclass(frozen=True, slots=True)
class Applied:
    """The file's tables with the variables over them; `sources` maps a key to its variable."""

    raw: dict[str, Any]
    sources: Mapping[str, str]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class _Place:
    path: tuple[str, ...]
    is_text: bool


class _NoPlace(Exception):
    pass


def apply(raw: dict[str, Any], environ: Mapping[str, str]) -> Applied:
    """Return `raw` with each override of `environ` in its place. `raw` itself is not changed."""
    result, sources, problems = _copy(raw), {}, []
    for variable in sorted(environ):
        if not variable.upper().startswith(PREFIX):
            continue
        try:
            place = _find(variable[len(PREFIX) :].upper(), Settings, result, ())
        except _NoPlace as error:
            problems.append(Problem(variable, str(error)))
            continue
        table = result
        for key in place.path[:-1]:
            table = table.setdefault(key, {})
        table[place.path[-1]] = _value(environ[variable], is_text=place.is_text)
        sources[".".join(place.path)] = variable
    return Applied(result, sources, tuple(problems))


def without_overrides(environ: Mapping[str, str]) -> dict[str, str]:
    """Return `environ` without the variables above: for a child whose file already has them."""
    return {key: value for key, value in environ.items() if not key.upper().startswith(PREFIX)}


def _find(rest: str, shape: Any, table: object, path: tuple[str, ...]) -> _Place:
    """Return the place that `rest` names below `shape`; the longest key that fits wins."""
    known = dict(_children(shape, table))
    fitting = [
        key for key in known if rest == _written(key) or rest.startswith(f"{_written(key)}__")
    ]
    longest = max((len(key) for key in fitting), default=0)
    fitting = [key for key in fitting if len(key) == longest]
    where = ".".join(path) or "the file"
    if len(fitting) > 1:
        raise _NoPlace(f"fits {' and '.join(fitting)} of {where}; change the file instead")
    if not fitting:
        written = rest.partition("__")[0]
        hint = closest(written, {_written(key): key for key in known})
        advice = f"did you mean {hint}?" if hint else f"known there: {', '.join(sorted(known))}"
        raise _NoPlace(f"fits no key of {where}; {advice}")
    (key,) = fitting
    rest, child = rest[len(key) + 2 :], known[key]
    if not rest:
        return _Place((*path, key), _takes_text(child))
    return _find(rest, child, table.get(key) if isinstance(table, dict) else None, (*path, key))


def _children(shape: Any, table: object) -> Iterator[tuple[str, Any]]:
    """Yield the keys that may stand in `table`, each with the shape of what it holds."""
    for one in _alternatives(shape):
        if isinstance(one, type) and issubclass(one, BaseModel):
            for name, field in one.model_fields.items():
                yield name, field.annotation
        elif get_origin(one) is Mapping and isinstance(table, dict):
            for name in table:
                yield name, get_args(one)[1]


def _alternatives(shape: Any) -> Iterator[Any]:
    origin = get_origin(shape)
    if origin is Annotated:
        yield from _alternatives(get_args(shape)[0])
    elif origin in {Union, types.UnionType}:
        for one in get_args(shape):
            yield from _alternatives(one)
    else:
        yield Mapping[get_args(shape)] if origin is Mapping else shape  # type: ignore[misc]


def _takes_text(shape: Any) -> bool:
    """Whether a bare word can be the value, so that `2024` for a database is no number."""
    kinds = set(_alternatives(shape)) - {type(None)}
    structured = {list, dict, tuple, Mapping, int, float, bool}
    return not any(
        kind in structured
        or (get_origin(kind) in structured and get_origin(kind) is not Literal)
        or (isinstance(kind, type) and issubclass(kind, BaseModel))
        for kind in kinds
    )


def _value(text: str, *, is_text: bool) -> object:
    """Return what `text` says in TOML's syntax; what is no TOML is the text itself."""
    if is_text and text[:1] not in {'"', "'"}:
        return text
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    value = parsed["value"]
    return (
        value if len(parsed) == 1 and isinstance(value, str | int | float | list | dict) else text
    )


def _written(key: str) -> str:
    return key.upper().replace("-", "_")


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(one) for key, one in value.items()}
    return [_copy(one) for one in value] if isinstance(value, list) else value
