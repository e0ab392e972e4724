"""Reading few users cheaply: SHOW CREATE USER and SHOW GRANTS take two fifths of the time of the
query on `system.*`, whose analysis takes longer than its rows (`benchmarks/observing.py`).

The texts are the server's own normal form (26.9). Only what our own statements make is understood;
of anything else `parse_shown` says None, and the caller asks `system.*`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from workers.access.model import Door, Login, UserState
from workers.access.statements.quoting import PAST, identifiers

_NAME = r"(?:[A-Za-z_][A-Za-z0-9_]*|`(?:[^`\\]|\\.)+`)"
_TEXT = r"'(?:[^'\\]|\\.)*'"
_METHOD = (
    rf"no_authentication|no_password|sha256_password|bcrypt_password"
    rf"|ldap SERVER {_TEXT}|kerberos(?: REALM {_TEXT})?"
    rf"|ssl_certificate (?:CN|SAN) {_TEXT}(?:, {_TEXT})*|http SERVER {_TEXT} SCHEME 'BASIC'"
)
_USER = re.compile(
    rf"CREATE USER (?P<name>{_NAME}) IDENTIFIED WITH (?P<method>{_METHOD})"
    rf"(?P<ended> VALID UNTIL {PAST})?(?P<shut> HOST NONE)?"
    rf"(?P<listed> DEFAULT ROLE (?:NONE|{_NAME}(?:, {_NAME})*))?"
)
_ROLES = re.compile(
    rf"GRANT (?P<roles>{_NAME}(?:, {_NAME})*) TO (?P<name>{_NAME})(?: WITH ADMIN OPTION)?"
)
_PARAMS = {"SERVER": "server", "REALM": "realm", "CN": "common_name", "SAN": "subject_alt_name"}
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
    for line in granted:
        match = _ROLES.fullmatch(line)
        if match is None:
            return None
        held = map(_unquoted, re.findall(_NAME, match["roles"]))
        roles.setdefault(_unquoted(match["name"]), set()).update(held)
    users = {}
    for line in created:
        match = _USER.fullmatch(line)
        if match is None or bool(match["ended"]) is not bool(match["shut"]):
            return None
        name = _unquoted(match["name"])
        its_roles = frozenset(roles.get(name, ()))
        users[name] = UserState(
            managed=marker in its_roles,
            roles=its_roles - {marker},
            login=_login(match["method"]),
            door=Door.LOCKED if match["shut"] else Door.OPEN,
            default_all=match["listed"] is None,
        )
    return users


def _login(text: str) -> Login:
    method, _, rest = text.partition(" ")
    params: list[tuple[str, str]] = []
    for keyword, values in re.findall(rf"(SERVER|REALM|CN|SAN) ({_TEXT}(?:, {_TEXT})*)", rest):
        params += ((_PARAMS[keyword], _unquoted(value)) for value in re.findall(_TEXT, values))
    return Login(method, tuple(params)).observable


def _unquoted(text: str) -> str:
    if text[0] not in "`'":
        return text
    return _ESCAPED.sub(lambda found: _CONTROL.get(found[1], found[1]), text[1:-1])
