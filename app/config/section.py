"""A table of the configuration file: checked by pydantic, every mistake told in plain words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    SecretStr,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic.types import Strict
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from app.config.suggest import closest

_TOLD = "told"  # the type of an error whose message is already in plain words


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("has an unprintable character; leave it out")
    return text


def distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    for at, value in enumerate(values):
        if value in values[:at]:
            raise ValueError(f"names {str(value)!r} twice; once is enough")
    return values


NOT_IN_THE_FILE = (
    "never stands in this file; give password_env (name of an environment variable)"
    " or password_file (path of a file that holds it)"
)

# TOML has types, so nothing is converted: "8080" is a text and no port.
Text = Annotated[str, StringConstraints(min_length=1, max_length=256), AfterValidator(_printable)]
Whole = Annotated[int, Strict()]
Number = Annotated[float, Strict()]
Flag = Annotated[bool, Strict()]

Names = Annotated[tuple[Text, ...], AfterValidator(distinct)]
SomeNames = Annotated[tuple[Text, ...], Field(min_length=1), AfterValidator(distinct)]

_PLAIN: Mapping[str, str] = {
    "missing": "is missing; add it",
    "string_type": 'must be text in quotes, as in "text"',
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "is no such name; use letters, digits and _",
    "int_type": "must be a whole number, without quotes",
    "float_type": "must be a number, without quotes",
    "bool_type": "must be true or false, without quotes",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than_equal": "must be {le} or less",
    "finite_number": "must be a finite number",
    "list_type": 'must be a list, as in ["one", "two"]',
    "tuple_type": 'must be a list, as in ["one", "two"]',
    "too_short": "must have at least one entry",
    "dict_type": "must be a table",
    "mapping_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "path_type": 'must be the path of a file in quotes, as in "/run/secrets/password"',
    "literal_error": "must be one of {expected}",
}


class Section(BaseModel):
    """Base of all tables. Frozen; unknown keys are mistakes.

    A table reports the mistakes of its keys and those between its keys together: pydantic alone
    would show the latter only after the former are mended.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    # Values that the configuration knows and this version refuses: (key, value) -> what to do.
    later: ClassVar[Mapping[tuple[str, object], str]] = {}

    @classmethod
    def relations(cls, raw: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield (key, reason) for each mistake between keys. `raw` is not checked yet."""
        del raw
        yield from ()

    @model_validator(mode="wrap")
    @classmethod
    def _tell_everything(cls, raw: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        found: list[InitErrorDetails] = []
        refused: set[str] = set()
        if isinstance(raw, dict):
            found += (_told((key,), reason) for key, reason in cls.relations(raw))
            for (key, value), reason in cls.later.items():
                if key in raw and (value is ... or raw[key] == value):
                    found.append(_told((key,), reason))
                    refused.add(key)
        try:
            section = handler(raw)
        except ValidationError as error:
            for one in error.errors():
                loc = one["loc"]
                if one["type"].startswith("union_tag"):
                    loc = (*loc, "method")
                if not (loc and loc[0] in refused):
                    found.append(_told(loc, cls.reason(one)))
        if found:
            raise ValidationError.from_exception_data(cls.__name__, found)
        return section

    @classmethod
    def reason(cls, error: ErrorDetails) -> str:
        """Return what to do about `error`, without pydantic's words and without the value."""
        kind, context = error["type"], error.get("ctx", {})
        if kind == _TOLD:
            return str(context["reason"])
        if kind == "value_error":
            return str(context["error"])
        if kind == "extra_forbidden":
            return unknown_key(str(error["loc"][-1]), cls.model_fields)
        if kind in _PLAIN:
            return _PLAIN[kind].format(**context)
        return error["msg"]


def unknown_key(written: str, known: Mapping[str, object]) -> str:
    hint = closest(written, known)
    return "is no known key; " + (
        f"did you mean {hint}?" if hint else f"allowed: {', '.join(sorted(known))}"
    )


def one_of(
    raw: Mapping[str, Any], keys: tuple[str, ...], *, required: bool
) -> Iterator[tuple[str, str]]:
    """Yield a mistake if `raw` has more than one of `keys`, or none where one is `required`."""
    given = [key for key in keys if key in raw]
    if len(given) > 1:
        yield given[1], f"can't stand beside {given[0]}; keep one of the two"
    elif required and not given:
        yield keys[0], f"is missing; add {', '.join(keys[:-1])} or {keys[-1]}"


class Account(Section):
    """A table about something to log in to. The password never stands in the file."""

    password_env: Text | None = None
    password_file: Path | None = None
    password: SecretStr | None = None

    @classmethod
    def relations(cls, raw: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        yield from one_of(raw, ("password_env", "password_file"), required=False)

    def secret(self) -> str | None:
        """Return the password in the clear, for the client that logs in and nobody else."""
        return None if self.password is None else self.password.get_secret_value()


def _told(loc: tuple[int | str, ...], reason: str) -> InitErrorDetails:
    # The reason goes in as a value: braces in it are text, no placeholders.
    kind = PydanticCustomError(_TOLD, "{reason}", {"reason": reason})
    return InitErrorDetails(type=kind, loc=loc, input=None)
