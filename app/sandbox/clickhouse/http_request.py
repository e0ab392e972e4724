"""What an HTTP request asks for, read from its line and headers (`src/Server/HTTPHandler.cpp`).

Parameters of the URL that are not the interface's own are settings, `param_x` is the value of
`{x:Type}`. Every setting must be known: a mistyped one is answered with 115.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from app.sandbox.clickhouse.faults import ServerError
from app.sandbox.clickhouse.http_codings import CODINGS
from app.sandbox.clickhouse.queries import Query
from app.sandbox.clickhouse.settings import is_custom
from app.sandbox.clickhouse.tokens import render_text

_BAD_ARGUMENTS, _NOT_IMPLEMENTED, _AUTHENTICATION_FAILED, _INVALID_SESSION_TIMEOUT = (
    36,
    48,
    516,
    374,
)
_SESSION_S, _LONGEST_SESSION_S = 60, 3600
_MOST_PARAMETERS = 10_000

# The interface's own parameters; those that only tune a server's buffers are passed over.
_OWN = frozenset(
    {
        "query",
        "database",
        "default_format",
        "user",
        "password",
        "quota_key",
        "query_id",
        "session_id",
        "session_timeout",
        "session_check",
        "close_session",
        "role",
        "compress",
        "decompress",
        "wait_end_of_query",
        "buffer_size",
        "stacktrace",
        "client_protocol_version",
        "enable_http_compression",
        "http_zlib_compression_level",
    }
)
_PARAMETER = "param_"


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedSession:
    """A session that outlives the request. `must_exist`: it is an error if there is none."""

    name: str
    timeout_s: int
    must_exist: bool
    closes: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """`sql`: the query as far as the URL has it; the body goes on from there.

    `format`: of a result whose query names none. `coding`: of the answer, empty for none.
    `body_coding`: of the body. `framed`, `body_framed`: in ClickHouse's own compressed frames.
    `waits`: the answer begins when the query has ended.
    """

    user: str
    password: str = field(repr=False)
    database: str
    sql: str
    query_id: str
    settings: Mapping[str, str]
    parameters: Mapping[str, str]
    roles: Sequence[str]
    format: str
    only_reads: bool
    coding: str
    body_coding: str
    framed: bool
    body_framed: bool
    waits: bool
    session: NamedSession | None

    def query(self, sql: str) -> Query:
        return Query(
            query_id=self.query_id,
            sql=sql,
            settings=self.settings,
            important=frozenset(self.settings),
            parameters=self.parameters,
            only_reads=self.only_reads,
        )


def parse_request(
    method: str,
    target: str,
    headers: Mapping[str, str],
    query_id: str = "",
) -> Request:
    """Return what is asked for. `headers`: whose names ignore case.

    `query_id`: the one that is used where the client gives none. Raises ServerError for what a
    server refuses before it looks at the query.
    """
    if headers.get("Content-Type", "").lower().startswith("multipart/form-data"):
        raise ServerError(_NOT_IMPLEMENTED, "DB::Exception: the sandbox does not take forms")
    pairs = _parse_parameters(target.partition("?")[2])
    params = dict(pairs)
    user, password = _credentials(headers, params)
    return Request(
        user=user,
        password=password,
        database=headers.get("X-ClickHouse-Database", "") or params.get("database", ""),
        sql="".join(value for name, value in pairs if name == "query"),
        query_id=params.get("query_id") or headers.get("X-ClickHouse-Query-Id") or query_id,
        settings={
            name: render_text(value) if is_custom(name) else value
            for name, value in pairs
            if name and name not in _OWN and not name.startswith(_PARAMETER)
        },
        parameters={
            name.removeprefix(_PARAMETER): value
            for name, value in pairs
            if name.startswith(_PARAMETER)
        },
        roles=[value for name, value in pairs if name == "role"],
        format=headers.get("X-ClickHouse-Format", "")
        or params.get("default_format", "")
        or "TabSeparated",
        only_reads=method in {"GET", "HEAD"},
        coding=_accepted(headers) if _is_on(params, "enable_http_compression") else "",
        body_coding=_body_coding(headers),
        framed=_is_on(params, "compress"),
        body_framed=_is_on(params, "decompress"),
        waits=_is_on(params, "wait_end_of_query"),
        session=_session(params),
    )


def _parse_parameters(text: str) -> list[tuple[str, str]]:
    """Return the names and values of a URL's query or a form's body. Raises ServerError 36."""
    try:
        return parse_qsl(
            text,
            keep_blank_values=True,
            errors="surrogateescape",
            max_num_fields=_MOST_PARAMETERS,
        )
    except ValueError as error:
        raise ServerError(_BAD_ARGUMENTS, f"DB::Exception: {error}") from None


def _credentials(headers: Mapping[str, str], params: Mapping[str, str]) -> tuple[str, str]:
    """Return the user and the password from the one place where they are."""
    basic = headers.get("Authorization", "")
    in_headers = any(name in headers for name in ("X-ClickHouse-User", "X-ClickHouse-Key"))
    in_params = any(name in params for name in ("user", "password"))
    if bool(basic) + in_headers + in_params > 1:
        raise _refused("it is not allowed to use two ways of authentication simultaneously")
    if in_headers:
        return headers.get("X-ClickHouse-User", ""), headers.get("X-ClickHouse-Key", "")
    if not basic:
        return params.get("user", ""), params.get("password", "")
    scheme, _, encoded = basic.partition(" ")
    if scheme.lower() != "basic":
        raise _refused(f"'{scheme}' HTTP Authorization scheme is not supported")
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise _refused("the Authorization header cannot be read") from None
    user, _, password = decoded.decode("utf-8", "surrogateescape").partition(":")
    return user, password


def _refused(why: str) -> ServerError:
    return ServerError(_AUTHENTICATION_FAILED, f"DB::Exception: Invalid authentication: {why}")


def _is_on(params: Mapping[str, str], name: str) -> bool:
    value = params.get(name, "0").lower()
    if value in {"1", "true"}:
        return True
    if value in {"0", "false"}:
        return False
    raise ServerError(_BAD_ARGUMENTS, f"DB::Exception: {name} is 0 or 1, not '{value}'")


_QUALITY_NONE = re.compile(r";\s*q=0(\.0*)?\s*$")


def _accepted(headers: Mapping[str, str]) -> str:
    """Return the first coding of ours that the client takes; empty where there is none."""
    offered = headers.get("Accept-Encoding", "").lower().split(",")
    names = {text.partition(";")[0].strip() for text in offered if not _QUALITY_NONE.search(text)}
    return next((coding for coding in CODINGS if coding in names), "")


def _body_coding(headers: Mapping[str, str]) -> str:
    coding = headers.get("Content-Encoding", "").strip().lower()
    if coding in {"", "identity"}:
        return ""
    if coding not in CODINGS:
        raise ServerError(_NOT_IMPLEMENTED, f"DB::Exception: Unknown compression method '{coding}'")
    return coding


def _session(params: Mapping[str, str]) -> NamedSession | None:
    if "session_id" not in params:
        return None
    text = params.get("session_timeout", str(_SESSION_S))
    if not text.isascii() or not text.isdigit():
        raise ServerError(
            _INVALID_SESSION_TIMEOUT, f"DB::Exception: Invalid session timeout: '{text}'"
        )
    if len(text) > 9 or int(text) > _LONGEST_SESSION_S:
        raise ServerError(
            _INVALID_SESSION_TIMEOUT,
            f"DB::Exception: Session timeout '{text}' is larger than max_session_timeout: "
            f"{_LONGEST_SESSION_S}",
        )
    return NamedSession(
        name=params["session_id"],
        timeout_s=int(text),
        must_exist=_is_on(params, "session_check"),
        closes=_is_on(params, "close_session"),
    )
