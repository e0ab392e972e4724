"""The ClickHouse name of a user: a template that gives two people never one name."""

from __future__ import annotations

import re
from dataclasses import dataclass

from app.errors import InvalidValue

PLACEHOLDERS = ("{userName}", "{userName|localpart}", "{tenant}")


class TemplateError(ValueError):
    """The text is no template; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Template:
    """`prefix` + the user name, whole or its local part, + `suffix`.

    One placeholder for the user name and fixed text around it: so different user names give
    different names. `{tenant}` may stand in the fixed text.
    """

    text: str
    prefix: str
    localpart: bool
    suffix: str

    @classmethod
    def parse(cls, text: str) -> Template:
        """Raise TemplateError unless `text` has exactly one placeholder for the user name."""
        pieces = re.split(r"(\{[^{}]*\})", text)
        people = [at for at, piece in enumerate(pieces) if piece in PLACEHOLDERS[:2]]
        for piece in pieces:
            if piece not in PLACEHOLDERS and ("{" in piece or "}" in piece):
                raise TemplateError(f"has {piece!r}; a template takes {', '.join(PLACEHOLDERS)}")
        if len(people) != 1:
            raise TemplateError(
                "must contain {userName} or {userName|localpart} once, or people share a name"
            )
        if not text.isprintable():
            raise TemplateError("has an unprintable character")
        (at,) = people
        return cls(
            text=text,
            prefix="".join(pieces[:at]),
            localpart=pieces[at] == "{userName|localpart}",
            suffix="".join(pieces[at + 1 :]),
        )

    def render(self, *, tenant: str, user_name: str) -> str:
        """Return the ClickHouse name.

        Raises InvalidValue where the local part is wanted and `user_name` is not an address:
        `ana` beside `ana@acme.example` would be a second person with one name.
        """
        prefix, suffix = self.around(tenant)
        if not self.localpart:
            return f"{prefix}{user_name}{suffix}"
        local, at, domain = user_name.rpartition("@")
        if not (local and at and domain):
            raise InvalidValue("userName must be an e-mail address in this tenant")
        return f"{prefix}{local}{suffix}"

    def around(self, tenant: str) -> tuple[str, str]:
        """Return the fixed text before and after the user name."""
        return self.prefix.replace("{tenant}", tenant), self.suffix.replace("{tenant}", tenant)

    @property
    def is_bare(self) -> bool:
        """Whether the ClickHouse name is the user name itself."""
        return not (self.prefix or self.suffix or self.localpart)
