"""`system.processes` as a server shows it: the clients' queries, by the ids that clients gave.

The engine lists every query of this process under an id of its own. In a SELECT that reads the
table, a subquery takes its place: it leaves out what no client sent and puts in what clients know.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.sandbox.clickhouse.tokens import Kind, Token, parse_tokens, render_text

# After a table's name a word is its alias, unless it is one of these (ParserTablesInSelectQuery).
_NO_ALIAS = {
    *("WHERE", "PREWHERE", "GROUP", "ORDER", "LIMIT", "HAVING", "SETTINGS", "FORMAT", "UNION"),
    *("JOIN", "INNER", "LEFT", "RIGHT", "FULL", "CROSS", "GLOBAL", "ANY", "ALL", "ASOF", "SEMI"),
    *("ANTI", "PASTE", "ON", "USING", "FINAL", "SAMPLE", "ARRAY", "WINDOW", "QUALIFY", "OFFSET"),
    *("EXCEPT", "INTERSECT", "INTO", "FETCH", "PARALLEL", "LOCAL"),
}
_MAY_READ = re.compile("process", re.IGNORECASE)
_INTERFACE = (
    "Enum8('Unknown' = 0, 'TCP' = 1, 'HTTP' = 2, 'gRPC' = 3, 'MySQL' = 4, 'PostgreSQL' = 5, "
    "'Local' = 6, 'TCP_Interserver' = 7, 'Prometheus' = 8, 'Background' = 9, 'ArrowFlight' = 10)"
)
_KNOWN_TO_CLIENTS = (
    *("query_id", "initial_query_id", "address", "initial_address", "interface", "query"),
    *("*", "COLUMNS", "columns"),
)
# What the server adds to a text on its way to the engine, and to take off again.
_OWN_TAIL = r"\\s(INTO OUTFILE|FROM INFILE) ''/proc/self/fd/\\d+'' (APPEND|COMPRESSION ''none'').*$"


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A client's query. `interface`: TCP or HTTP. `address`: the client's, IPv4 or IPv6."""

    query_id: str
    sql: str
    user: str
    address: str
    interface: str


def show_processes(sql: str, running: Mapping[int, Process]) -> str:
    """Return the statement with `running`, by the thread that runs it, for `system.processes`."""
    if not _MAY_READ.search(sql):
        return sql
    tokens = parse_tokens(sql)
    if [token.value for token in tokens[:2]] == ["SHOW", "PROCESSLIST"]:
        rest = sql[tokens[1].end :]
        shown = f"{_subquery(running, whole=True)} AS processes ORDER BY elapsed DESC"
        return f"SELECT * FROM {shown}{rest}"  # noqa: S608  the client's own text is the rest
    whole = not {_called(token) for token in tokens}.isdisjoint(_KNOWN_TO_CLIENTS)
    for i in range(len(tokens) - 3, 0, -1):
        if _reads(tokens, i):
            alias = "" if _has_alias(tokens, i + 3) else " AS processes"
            start, end = tokens[i].start, tokens[i + 2].end
            sql = f"{sql[:start]}{_subquery(running, whole=whole)}{alias}{sql[end:]}"
    return sql


def _reads(tokens: Sequence[Token], at: int) -> bool:
    """Tell whether the tokens at `at` name the table in a FROM or JOIN."""
    return (
        (tokens[at - 1].is_word("FROM", "JOIN") or tokens[at - 1].is_sign(",", "("))
        and _called(tokens[at]) == "system"
        and tokens[at + 1].is_sign(".")
        and _called(tokens[at + 2]) == "processes"
        and not (at + 3 < len(tokens) and tokens[at + 3].is_sign("."))
    )


def _called(token: Token) -> str:
    return token.raw if token.kind is Kind.WORD else token.value


def _has_alias(tokens: Sequence[Token], at: int) -> bool:
    if at >= len(tokens):
        return False
    return tokens[at].kind is Kind.NAME or (
        tokens[at].kind is Kind.WORD and not tokens[at].is_word(*_NO_ALIAS)
    )


def _subquery(running: Mapping[int, Process], *, whole: bool) -> str:
    """Return the clients' queries; `whole`: with what clients know better, for twice the price."""
    threads = f"CAST([{', '.join(map(str, running))}], 'Array(UInt64)')"
    if not whole:
        return f"(SELECT * FROM system.processes WHERE hasAny(thread_ids, {threads}))"  # noqa: S608
    processes = running.values()
    ids = _texts([process.query_id for process in processes])
    addresses = _texts([process.address for process in processes])
    interfaces = _texts([process.interface for process in processes])
    # The engine has the others' texts, and hides the secrets in them.
    texts = _texts([process.sql if _MAY_READ.search(process.sql) else "" for process in processes])
    shown = (
        "SELECT * REPLACE (id AS query_id, id AS initial_query_id, "
        "client AS address, client AS initial_address, "
        f"CAST({interfaces}[nth], {render_text(_INTERFACE)}) AS interface, "
        f"if(empty({texts}[nth]), replaceRegexpOne(query, '{_OWN_TAIL}', ''), {texts}[nth]) "
        "AS query)"
    )
    nth = f"arrayMax(arrayMap(thread -> indexOf({threads}, thread), thread_ids))"
    known = f"{nth} AS nth, {ids}[nth] AS id, toIPv6({addresses}[nth]) AS client"
    return f"(WITH {known} {shown} FROM system.processes WHERE nth > 0)"


def _texts(texts: Sequence[str]) -> str:
    return f"CAST([{', '.join(map(render_text, texts))}], 'Array(String)')"
