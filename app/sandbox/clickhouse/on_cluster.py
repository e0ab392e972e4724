"""The ON CLUSTER clause: where a statement has one, and the statement without it."""

from __future__ import annotations

from collections.abc import Sequence

from app.sandbox.clickhouse.tokens import Kind, Token

_VERBS = {
    *("CREATE", "ALTER", "DROP", "GRANT", "REVOKE", "MOVE", "RENAME", "EXCHANGE", "TRUNCATE"),
    *("OPTIMIZE", "SYSTEM", "ATTACH", "DETACH", "UNDROP", "REPLACE", "DELETE", "UPDATE", "KILL"),
}


def split_on_cluster(sql: str, tokens: Sequence[Token]) -> tuple[str, str]:
    """Return the statement without its ON CLUSTER clause, and the cluster's name, empty if none.

    `tokens`: the statement's, after an `EXECUTE AS name` before it. Within parentheses, and after
    AS or USING, the two words are something else.
    """
    if not tokens[0].is_word(*_VERBS):
        return sql, ""
    depth = 0
    for on, cluster, name in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if on.is_sign("("):
            depth += 1
        elif on.is_sign(")"):
            depth -= 1
        elif on.is_word("AS", "USING") and not depth:
            break
        elif (
            not depth
            and on.is_word("ON")
            and cluster.is_word("CLUSTER")
            and name.kind in {Kind.WORD, Kind.NAME, Kind.TEXT}
            and not name.is_word("TO", "FROM")
        ):
            called = name.raw if name.kind is Kind.WORD else name.value
            return f"{sql[: on.start].rstrip()}{sql[name.end :]}", called
    return sql, ""
