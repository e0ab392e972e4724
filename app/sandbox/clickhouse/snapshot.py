"""The engine's whole access state as statements that make it again.

`SHOW ACCESS` prints each entity as one statement, in an order that cannot be run: a user with
default roles comes before the roles. So every entity is made bare first and then given what refers
to others; the secrets, which the engine does not print, are put back on the way.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from app.sandbox.clickhouse.access_statements import USERS_XML, find_grantees, starts_method
from app.sandbox.clickhouse.credentials import Method
from app.sandbox.clickhouse.tokens import Kind, Token, parse_tokens, render_name, render_text

_LIKE_NAMES = ("NONE", "ANY", "CURRENT_USER")
_QUOTED = re.compile(f"`({'|'.join(_LIKE_NAMES)})`", re.IGNORECASE)
_AT_ONCE = 200  # names in one statement
_TOGETHER_SIZE = 50_000  # characters; four bytes each are within max_query_size (262,144)


@dataclass(slots=True)
class _Parts:
    """`bare`: names made with nothing; `made`: statements that refer to nothing; `given`: the rest.

    `role_grants`: who gets which roles, by the statement's text before and after the grantee.
    """

    roles: list[str] = field(default_factory=list)
    profiles: list[str] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    grants: list[str] = field(default_factory=list)
    role_grants: defaultdict[tuple[str, str], list[str]] = field(
        default_factory=lambda: defaultdict(list)
    )
    given: list[str] = field(default_factory=list)


def render_snapshot(
    entities: Sequence[str], methods: Mapping[str, Sequence[Method]]
) -> Iterator[list[str]]:
    """Yield statements that make `entities`, the lines of SHOW ACCESS, in an empty engine.

    Those of one list may run in any order. `methods`: each user's, in the order in which the engine
    lists them. What belongs to `default` is left out: the engine has it from the start, and it
    cannot be changed.
    """
    parts = _Parts()
    for entity in entities:
        sql = _with_quotes(entity)
        _sort(sql, parse_tokens(sql), methods, parts)
    yield from _together(_many("CREATE ROLE ", parts.roles, ""))
    yield from _together(_many("CREATE SETTINGS PROFILE ", parts.profiles, ""))
    yield from _together(parts.made)
    yield from ([sql] for sql in parts.grants)  # a partial revoke follows its grant
    for (before, after), grantees in parts.role_grants.items():
        yield from ([sql] for sql in _many(before, grantees, after))
    yield from _together(parts.given)


def _sort(
    sql: str, tokens: Sequence[Token], methods: Mapping[str, Sequence[Method]], parts: _Parts
) -> None:
    words = [token.value if token.kind is Kind.WORD else "" for token in tokens[:3]]
    match words:
        case ["CREATE", "USER", _]:
            _user(sql, tokens, methods, parts)
        case ["CREATE", "ROLE", _]:
            parts.roles.append(tokens[2].raw)
            if len(tokens) > 3:
                parts.given.append(f"ALTER {sql[tokens[1].start :]}")
        case ["CREATE", "SETTINGS", "PROFILE"]:
            if tokens[3].value not in USERS_XML["PROFILE"]:
                parts.profiles.append(tokens[3].raw)
                if len(tokens) > 4:
                    parts.given.append(f"ALTER {sql[tokens[1].start :]}")
        case ["GRANT" | "REVOKE", *_]:
            _grant(sql, tokens, parts)
        case ["CREATE", "QUOTA", _] if _value(tokens[2]) in USERS_XML["QUOTA"]:
            pass
        case _:
            parts.given.append(sql)


def _with_quotes(sql: str) -> str:
    """Quote names that would be read as keywords: the engine prints a role `none` as it is.

    Keywords it prints in capitals, so what is not in capitals is a name, but for a policy's
    condition; CURRENT_USER it does not print. A role NONE or ANY in capitals can not be told apart.
    """
    tokens = parse_tokens(sql)
    is_policy = any(token.is_word("POLICY") for token in tokens[:3])
    for token in reversed(tokens[find_grantees(tokens, "TO") if is_policy else 0 :]):
        in_capitals = token.raw == token.value and token.value != "CURRENT_USER"
        if token.is_word(*_LIKE_NAMES) and not in_capitals:
            sql = sql[: token.start] + render_name(token.raw) + sql[token.end :]
    return sql


def _user(
    sql: str, tokens: Sequence[Token], methods: Mapping[str, Sequence[Method]], parts: _Parts
) -> None:
    """Split a user into what stands alone, and roles, settings and grantees that need others."""
    name = _value(tokens[2])
    if name in USERS_XML["USER"]:
        return
    later = next((i for i in range(3, len(tokens)) if _refers(tokens, i)), len(tokens))
    end = tokens[later].start if later < len(tokens) else len(sql)
    made = _with_secrets(sql[:end].rstrip(), tokens[:later], methods.get(name, ()))
    parts.made.append(made or f"CREATE USER {render_name(name)} IDENTIFIED WITH no_authentication")
    if later < len(tokens):
        parts.given.append(f"ALTER USER {render_name(name)} {sql[end:]}")


def _refers(tokens: Sequence[Token], at: int) -> bool:
    if tokens[at - 1].is_word("DATABASE"):
        return False  # its name, whatever it is
    if tokens[at].is_word("SETTINGS", "GRANTEES"):
        return True
    return tokens[at].is_word("DEFAULT") and tokens[at + 1].is_word("ROLE")


def _with_secrets(sql: str, tokens: Sequence[Token], methods: Sequence[Method]) -> str:
    """Return the statement with its secrets; nothing where they are not those of its methods."""
    starts = [
        token
        for before, token in pairwise(tokens[3:])
        if before.is_word("WITH") or (before.is_sign(",") and starts_method(token))
    ]
    if len(starts) != len(methods):
        return ""
    for token, method in reversed(list(zip(starts, methods, strict=True))):
        if text := _render_method(method):
            sql = sql[: token.start] + text + sql[token.end :]
    return sql


def _render_method(method: Method) -> str:
    match method.kind:
        case "plaintext_password":
            return f"plaintext_password BY {render_text(method.secret)}"
        case "sha256_password" | "double_sha1_password" | "bcrypt_password":
            text = f"{method.kind.removesuffix('password')}hash BY {render_text(method.secret)}"
        case "scram_sha256_password":
            text = f"scram_sha256_hash BY {render_text(method.secret)}"
        case _:
            return ""
    return f"{text} SALT {render_text(method.salt)}" if method.salt else text


def _grant(sql: str, tokens: Sequence[Token], parts: _Parts) -> None:
    at = find_grantees(tokens, "TO", "FROM")
    grantee = tokens[at]
    if _value(grantee) in USERS_XML["USER"] or tokens[1].is_word("NONE"):
        return
    if any(token.is_word("ON") for token in tokens[:at]):
        parts.grants.append(sql)
    else:
        key = (sql[: grantee.start], sql[grantee.end :])
        parts.role_grants[key].append(grantee.raw)


def _together(statements: Iterable[str]) -> Iterator[list[str]]:
    """Yield the statements in lists whose text is short enough for one query.

    Of several that run together the engine prints each and reads it again, without the quotes.
    """
    together: list[str] = []
    size = 0
    for sql in statements:
        if _QUOTED.search(sql):
            yield [sql]
            continue
        if together and size + len(sql) > _TOGETHER_SIZE:
            yield together
            together, size = [], 0
        together.append(sql)
        size += len(sql) + len("\nPARALLEL WITH\n")
    if together:
        yield together


def _many(before: str, names: Sequence[str], after: str) -> Iterator[str]:
    for start in range(0, len(names), _AT_ONCE):
        yield f"{before}{', '.join(names[start : start + _AT_ONCE])}{after}"


def _value(token: Token) -> str:
    return token.raw if token.kind is Kind.WORD else token.value
