"""KILL QUERY with the ids that clients know.

The engine finds and kills the queries and checks the caller's rights; here only ids are exchanged:
the client's for the engine's in the condition, and back in the answer.
"""

from __future__ import annotations

from app.sandbox.clickhouse.engine import EngineSession
from app.sandbox.clickhouse.reader import text_block
from app.sandbox.clickhouse.running import Running
from app.sandbox.clickhouse.tokens import Kind, parse_tokens, render_text

_COLUMNS = ("kill_status", "query_id", "user", "query")


def run_kill(session: EngineSession, sql: str, running: Running) -> bytes:
    """Run a KILL statement as `session`; return its answer as one block."""
    tokens = parse_tokens(sql)
    if len(tokens) < 2 or not tokens[1].is_word("QUERY"):
        return session.run(sql)
    ids = running.ids()
    theirs = ", ".join(map(render_text, ids.values()))
    ours = ", ".join(map(render_text, ids))
    for token in reversed(tokens):
        named = token.raw if token.kind is Kind.WORD else token.value
        if ids and token.kind in {Kind.WORD, Kind.NAME} and named == "query_id":
            known = f"transform(query_id, [{ours}], [{theirs}], query_id)"
            sql = sql[: token.start] + known + sql[token.end :]
    rows = session.rows(sql)
    return text_block(
        _COLUMNS, [(status, ids.get(query_id, query_id), *rest) for status, query_id, *rest in rows]
    )
