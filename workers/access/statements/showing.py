"""Reading few users cheaply: SHOW CREATE USER and SHOW GRANTS take two fifths of the time of the
query on `system.*`, whose analysis takes longer than its rows (`benchmarks/observing.py`).

The texts are the server's own normal form (26.9). Only what our own statements make is understood;
of anything else `parse_shown` says None, and the caller asks `system.*`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

from workers.access.model import LOCAL, Door, Home, Login, Method, UserState
from workers.access.statements.quoting import PAST, identifiers, literals

_NAME = r"(?:[A-Za-z_][A-Za-z0-9_]*|`(?:[^`\\]|\\.)+`)"
_TEXT = r"'(?:[^'\\]|\\.)*'"
_METHOD = (
    rf"(?:no_authentication|no_password|sha256_password|bcrypt_password"
    rf"|ldap SERVER {_TEXT}|kerberos(?: REALM {_TEXT})?"
    rf"|ssl_certificate (?:CN|SAN) {_TEXT}(?:, {_TEXT})*|http SERVER {_TEXT} SCHEME 'BASIC')"
)
_ENDED = rf" VALID UNTIL {PAST}"
_USER = re.compile(
    rf"CREATE USER (?P<name>{_NAME})"
    rf" IDENTIFIED WITH (?P<methods>{_METHOD}(?:{_ENDED})?(?:, {_METHOD}(?:{_ENDED})?)*)"
    rf"(?: HOST (?P<hosts>NONE|LOCAL|(?:LOCAL, )?IP {_TEXT}(?:, {_TEXT})*))?"
    rf"(?: DEFAULT DATABASE (?P<database>{_NAME}))?"
    rf"(?: DEFAULT ROLE (?P<listed>(?:ALL EXCEPT )?(?:NONE|{_NAME}(?:, {_NAME})*)))?"
    rf"(?: SETTINGS (?P<profiles>PROFILE {_NAME}(?:, PROFILE {_NAME})*))?"
)
_ROLES = re.compile(
    rf"GRANT (?P<roles>{_NAME}(?:, {_NAME})*) TO (?P<name>{_NAME})(?P<admin> WITH ADMIN OPTION)?"
)
_PRIVILEGES = re.compile(
    rf"(?P<what>(?:GRANT|REVOKE) .* ON (?:[^`]|`(?:[^`\\]|\\.)+`)+) (?:TO|FROM) {_NAME}", re.DOTALL
)
_CREATED = re.compile(rf"CREATE USER (?P<name>{_NAME})")
_END_OR_QUOTED = re.compile(rf"VALID UNTIL (?P<end>{_TEXT})|{_TEXT}|`(?:[^`\\]|\\.)*`", re.DOTALL)
GRANT_OPTION = " WITH GRANT OPTION"
_PARAMS = {"SERVER": "server", "REALM": "realm", "CN": "common_name", "SAN": "subject_alt_name"}
_BUT = "ALL EXCEPT "
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_CONTROL = {"0": "\0", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def show_users_query(names: Sequence[str]) -> str:
    """Return a query whose rows say how each user logs in. Error 192 if one does not exist."""
    return f"SHOW CREATE USER {identifiers(names)}"


def show_grants_query(names: Sequence[str]) -> str:
    """Return a query whose rows say what each of these users holds; no row for nothing."""
    return f"SHOW GRANTS FOR {identifiers(names)}"


def parse_shown(
    created: Iterable[str], granted: Iterable[str], marker: str
) -> dict[str, UserState] | None:
    """Return the users by name, or None if a line says something that is not told apart here."""
    roles: dict[str, set[str]] = {}
    admin: dict[str, set[str]] = {}
    for line in granted:
        match = _ROLES.fullmatch(line)
        if match is None:
            return None
        name, held = _unquoted(match["name"]), set(_names(match["roles"]))
        roles.setdefault(name, set()).update(held)
        if match["admin"]:
            admin.setdefault(name, set()).update(held)
    users = {}
    for line in created:
        match = _USER.fullmatch(line)
        if match is None:
            return None
        methods, ended = _methods(match["methods"])
        is_shut = match["hosts"] == "NONE"
        if ended != (len(methods) if is_shut else 0):
            return None
        name = _unquoted(match["name"])
        its_roles, listed = frozenset(roles.get(name, ())), match["listed"] or ""
        users[name] = UserState(
            managed=marker in its_roles,
            roles=its_roles - {marker},
            admin=frozenset(admin.get(name, ())) - {marker},
            login=Login.of(methods, hosts=() if is_shut else _hosts(match["hosts"])).observable,
            door=Door.LOCKED if is_shut else Door.OPEN,
            default_all=not listed or listed.startswith(_BUT),
            dormant=frozenset(_names(listed.removeprefix(_BUT))) - {marker}
            if listed.startswith(_BUT)
            else frozenset(),
            listed=frozenset()
            if match["listed"] is None or listed.startswith(_BUT)
            else frozenset(_names(listed.removesuffix("NONE"))) - {marker},
            home=Home(
                _unquoted(match["database"]) if match["database"] else "",
                frozenset(
                    map(_unquoted, re.findall(rf"PROFILE ({_NAME})", match["profiles"] or ""))
                ),
            ),
        )
    return users


def parse_ends(line: str) -> tuple[str, tuple[str, ...]]:
    """Return whose line of SHOW CREATE USER this is, and each VALID UNTIL in it, as it stands."""
    match = _CREATED.match(line)
    if match is None:
        raise ValueError("is no line of SHOW CREATE USER")
    found = _END_OR_QUOTED.finditer(line, match.end())
    ends = (end["end"] for end in found if end["end"] is not None)
    return _unquoted(match["name"]), tuple(map(_unquoted, ends))


def times_query(texts: Collection[str]) -> str:
    """Return a query for (text, seconds since 1970) of these times, read as the server's own."""
    return (
        "SELECT text, toInt64(toUnixTimestamp(parseDateTimeBestEffort(text)))"  # noqa: S608 - quoted
        f" FROM (SELECT arrayJoin([{literals(sorted(texts))}]) AS text)"
    )


def cut_grant(line: str) -> str | None:
    """Return a line of SHOW GRANTS about privileges without TO or FROM and the name behind it; None
    if it is about roles.
    """
    option = GRANT_OPTION if line.endswith(GRANT_OPTION) else ""
    match = _PRIVILEGES.fullmatch(line.removesuffix(GRANT_OPTION))
    return None if match is None else match["what"] + option


def _names(text: str) -> list[str]:
    return [_unquoted(name) for name in re.findall(_NAME, text)]


def _hosts(text: str | None) -> list[str]:
    local = [LOCAL] if (text or "").startswith("LOCAL") else []
    return [*local, *map(_unquoted, re.findall(_TEXT, text or ""))]


def _methods(text: str) -> tuple[list[Method], int]:
    """Return the methods, and of how many the end has passed."""
    methods, ended = [], 0
    for match in re.finditer(rf"(?:^|, )({_METHOD})({_ENDED})?", text):
        method, _, rest = match[1].partition(" ")
        params: list[tuple[str, str]] = []
        for keyword, values in re.findall(rf"(SERVER|REALM|CN|SAN) ({_TEXT}(?:, {_TEXT})*)", rest):
            params += ((_PARAMS[keyword], _unquoted(value)) for value in re.findall(_TEXT, values))
        methods.append(Method(method, tuple(params)))
        ended += match[2] is not None
    return methods, ended


def _unquoted(text: str) -> str:
    if text[0] not in "`'":
        return text
    return _ESCAPED.sub(lambda found: _CONTROL.get(found[1], found[1]), text[1:-1])
