"""What of a statement may be shown to others: a server hides passwords in its logs."""

from __future__ import annotations

from itertools import pairwise

from app.sandbox.clickhouse.tokens import Kind, parse_tokens

_HIDDEN = "'[HIDDEN]'"


def hide_secrets(sql: str) -> str:
    """Return the statement without the passwords, hashes and salts of an IDENTIFIED clause.

    Of a named collection every text is hidden: which of them are secrets, nobody can tell.
    """
    upper = sql.upper()
    is_collection = "NAMED" in upper and "COLLECTION" in upper
    if not is_collection and "IDENTIFIED" not in upper:
        return sql
    for before, token in reversed(list(pairwise(parse_tokens(sql)))):
        if token.kind is Kind.TEXT and (is_collection or before.is_word("BY", "SALT", "KEY")):
            sql = sql[: token.start] + _HIDDEN + sql[token.end :]
    return sql
