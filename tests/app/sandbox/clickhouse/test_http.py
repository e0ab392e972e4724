"""The HTTP interface as programs without a driver use it: curl, and sockets that misbehave."""

from __future__ import annotations

import asyncio
import gzip
import json
import subprocess
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
import lz4.frame  # type: ignore[import-untyped]
import pytest
from backports import zstd

if TYPE_CHECKING:
    from tests.app.sandbox.clickhouse.conftest import Sql
    from tests.conftest import ClickHouseServer

Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]
SLOW = "SELECT count() FROM numbers(1000000000000) WHERE NOT ignore(number)"


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def code(self) -> int | None:
        code = self.headers.get("X-ClickHouse-Exception-Code")
        return int(code) if code else None


@dataclass(frozen=True, slots=True)
class Http:
    url: str

    async def __call__(
        self,
        body: str | bytes = b"",
        *,
        method: str = "POST",
        path: str = "/",
        headers: Mapping[str, str] | None = None,
        **params: Any,
    ) -> Answer:
        async with (
            aiohttp.ClientSession(auto_decompress=False) as client,
            client.request(
                method, self.url + path, params=params, data=body or None, headers=headers
            ) as response,
        ):
            return Answer(response.status, dict(response.headers), await response.read())


@pytest.fixture
def http(http_url: str) -> Http:
    return Http(http_url)


def curl(*arguments: str, content: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["curl", "-sS", "--max-time", "60", *arguments],
        input=content,
        capture_output=True,
        check=False,
    )


async def test_a_health_check_is_answered(http: Http) -> None:
    for path in ("/ping", "/", "/replicas_status"):
        assert (await http(method="GET", path=path)).text == "Ok.\n"
    assert (await http(method="GET", path="/nope")).status == 404


async def test_a_query_may_be_in_the_url_or_the_body_or_both(http: Http) -> None:
    assert (await http(method="GET", query="SELECT 1")).text == "1\n"
    assert (await http("SELECT 2")).text == "2\n"
    assert (await http("3 + 1", query="SELECT")).text == "4\n"
    assert (await http(" -- a comment\n SELECT 5;\n")).text == "5\n"


async def test_an_answer_says_what_it_is(http: Http) -> None:
    answer = await http("SELECT 1 AS a FORMAT JSON", query_id="my-query")
    assert answer.headers["Content-Type"] == "application/json; charset=UTF-8"
    assert answer.headers["X-ClickHouse-Query-Id"] == "my-query"
    assert answer.headers["X-ClickHouse-Format"] == "JSON"
    assert answer.headers["X-ClickHouse-Timezone"]
    assert json.loads(answer.headers["X-ClickHouse-Summary"])["read_rows"] == "1"
    assert json.loads(answer.body)["data"] == [{"a": 1}]


FORMATS: dict[str, tuple[dict[str, Any], str, str]] = {
    "of the query": ({}, " FORMAT CSV", '1,"x"\n'),
    "by default": ({"default_format": "JSONCompactEachRow"}, "", '[1, "x"]\n'),
    "the query's goes first": ({"default_format": "CSV"}, " FORMAT TSV", "1\tx\n"),
    "before settings": ({}, " FORMAT CSV SETTINGS max_threads = 1", '1,"x"\n'),
    "none": ({}, "", "1\tx\n"),
}


@pytest.mark.parametrize("waits", ["0", "1"])
@pytest.mark.parametrize(("params", "clause", "text"), FORMATS.values(), ids=FORMATS.keys())
async def test_a_result_is_in_the_format_that_was_asked_for(
    http: Http, params: dict[str, Any], clause: str, text: str, waits: str
) -> None:
    answer = await http(f"SELECT 1 AS a, 'x' AS b{clause}", wait_end_of_query=waits, **params)
    assert answer.text == text


async def test_what_is_no_select_has_its_format_too(http: Http) -> None:
    answer = await http("EXISTS TABLE system.one FORMAT JSONEachRow")
    assert json.loads(answer.body) == {"result": 1}
    assert (await http("SHOW CREATE USER default")).text.startswith("CREATE USER default")
    assert (await http("SELECT 1 FORMAT Nonsense")).code == 73
    assert (await http("SHOW TABLES FORMAT Nonsense")).code == 73


STATUSES = {
    "SELEC 1": (62, 400),
    "": (62, 400),
    "SELECT 1; SELECT 2": (62, 400),
    "SELECT * FROM missing_table": (60, 404),
    "SELECT * FROM missing_database.t": (81, 404),
    "SELECT missing_column": (47, 404),
    "SELECT toUInt8('x')": (6, 400),
    "SELECT throwIf(1)": (395, 500),
    "ALTER USER missing_user HOST NONE": (192, 403),
    "GRANT missing_role TO default2": (511, 404),
    "SELECT 1 INTO OUTFILE '/tmp/never'": (48, 501),
    "SELECT " + "1," * 140_000 + "1": (62, 400),
    "INSERT INTO missing_table VALUES (1)": (60, 404),
}


@pytest.mark.parametrize(
    ("text", "refusal"), STATUSES.items(), ids=[text[:40] or "nothing" for text in STATUSES]
)
async def test_a_refusal_has_clickhouses_code_and_its_status(
    http: Http, text: str, refusal: tuple[int, int]
) -> None:
    answer = await http(text, default_format="JSON")
    assert (answer.code, answer.status) == refusal
    assert answer.text.startswith(f"Code: {refusal[0]}. DB::Exception: ")


async def test_a_time_out_is_told_as_one(http: Http) -> None:
    answer = await http(SLOW, max_execution_time="1")
    assert (answer.code, answer.status) == (159, 408)


async def test_log_in_is_by_headers_by_basic_or_by_parameters(http: Http, sql: Sql) -> None:
    await sql("CREATE USER OR REPLACE `weber é` IDENTIFIED BY 'p:w'")
    ask = "SELECT currentUser()"
    headers = {"X-ClickHouse-User": "weber é", "X-ClickHouse-Key": "p:w"}
    assert (await http(ask, headers=headers)).text == "weber é\n"
    assert (await http(ask, user="weber é", password="p:w")).text == "weber é\n"
    basic = {"Authorization": aiohttp.encode_basic_auth("weber é", "p:w", "utf-8")}
    assert (await http(ask, headers=basic)).text == "weber é\n"
    assert (await http(ask)).text == "default\n"
    for user in ("weber é", "nobody"):
        answer = await http(ask, user=user, password="wrong")
        assert (answer.code, answer.status) == (516, 403)
        assert (
            f"{user}: Authentication failed: password is incorrect, or there is no" in answer.text
        )


async def test_rights_are_the_users(http: Http, sql: Sql) -> None:
    await sql("CREATE USER OR REPLACE webless IDENTIFIED BY 'p'")
    answer = await http("CREATE USER other", user="webless", password="p")
    assert (answer.code, answer.status) == (497, 403)


async def test_a_role_can_be_chosen(http: Http, sql: Sql) -> None:
    await sql("CREATE ROLE OR REPLACE web_a, web_b, web_c")
    await sql("CREATE USER OR REPLACE web_roles IDENTIFIED BY 'p'")
    await sql("GRANT web_a, web_b TO web_roles")
    who: dict[str, Any] = {"user": "web_roles", "password": "p"}
    ask = "SELECT arraySort(currentRoles())"
    assert (await http(ask, role="web_a", **who)).text == "['web_a']\n"
    assert (await http(ask, **who)).text == "['web_a','web_b']\n"
    assert (await http(ask, role="web_c", **who)).code == 512


async def test_parameters_are_values_and_nothing_else(http: Http) -> None:
    text = "SELECT {text:String}, {list:Array(UInt8)}, {name:Identifier} FROM system.one"
    answer = await http(text, param_text="it's; DROP", param_list="[1,2]", param_name="dummy")
    assert answer.text == "it\\'s; DROP\t[1,2]\t0\n"
    assert (await http("SELECT {x:UInt8}", param_x="y")).code == 457


async def test_settings_are_of_one_request(http: Http) -> None:
    ask = "SELECT getSetting('log_comment')"
    assert (await http(ask, log_comment="it's")).text == "it\\'s\n"
    assert (await http(ask)).text == "\n"
    answer = await http(ask, max_thrads="1")
    assert (answer.code, answer.status) == (115, 404)


async def test_a_get_reads_only(http: Http) -> None:
    answer = await http(method="GET", query="CREATE TABLE by_get (a Int8) ENGINE = Memory")
    assert answer.code == 164
    answer = await http("1", method="GET", query="INSERT INTO by_get FORMAT TSV")
    assert answer.code in {60, 164}
    assert (await http(method="GET", query="SELECT 1", max_threads="1")).text == "1\n"


async def test_the_database_is_the_requests(http: Http, sql: Sql) -> None:
    await sql("CREATE DATABASE IF NOT EXISTS web_db")
    assert (await http("SELECT currentDatabase()", database="web_db")).text == "web_db\n"
    assert (await http("SELECT 1", database="missing_database")).code == 81


async def test_a_session_lasts_beyond_a_request(http: Http) -> None:
    named: dict[str, Any] = {"session_id": "lasting"}
    await http("CREATE TEMPORARY TABLE mine (a Int8)", **named)
    await http("SET max_threads = 3", **named)
    await http("INSERT INTO mine VALUES (7)", **named)
    ask = "SELECT a, getSetting('max_threads') FROM mine"
    assert (await http(ask, **named)).text == "7\t3\n"
    assert (await http(ask, session_id="another")).code == 60
    assert (await http("SELECT 1", close_session="1", **named)).text == "1\n"
    assert (await http(ask, **named)).code == 60


async def test_a_session_is_one_users(http: Http, sql: Sql) -> None:
    await sql("CREATE USER OR REPLACE web_thief IDENTIFIED BY 'p'")
    await http("SET max_threads = 3", session_id="owned")
    ask = "SELECT getSetting('max_threads') = 3"
    assert (await http(ask, session_id="owned", user="web_thief", password="p")).text == "0\n"
    stolen = await http(ask, session_id="owned", session_check="1", password="wrong")
    assert stolen.code == 516


async def test_a_session_serves_one_request_at_a_time(
    http: Http, sql: Sql, eventually: Eventually
) -> None:
    slow = asyncio.create_task(http(SLOW, session_id="busy", query_id="web-busy"))

    async def runs() -> bool:
        count = "SELECT count() FROM system.processes WHERE query LIKE '%NOT ignore(number)%'"
        return await sql(f"{count} AND query NOT LIKE '%processes%'") != [(0,)]

    await eventually(runs)
    assert (await http("SELECT 1", session_id="busy")).code == 373
    await sql("KILL QUERY WHERE query_id = 'web-busy' SYNC")
    assert (await slow).code == 394


async def test_a_session_ends_when_its_time_is_over(http: Http, eventually: Eventually) -> None:
    await http("SET max_threads = 3", session_id="brief", session_timeout="0")

    async def is_gone() -> bool:
        return (await http("SELECT 1", session_id="brief", session_check="1")).code == 372

    await eventually(is_gone)
    await http("SET max_threads = 3", session_id="long", session_timeout="3600")
    assert (await http("SELECT 1", session_id="long", session_check="1")).text == "1\n"


INSERTS = {  # URL, body: rows that are there afterwards
    "all in the body": ("", "INSERT INTO web_in VALUES (1, 'x'), (2, upper('y'))", "1\tx\n2\tY\n"),
    "format in the body": ("", 'INSERT INTO web_in (b, a) FORMAT CSV\n"x",1\n', "1\tx\n"),
    "no line break": ("", 'INSERT INTO web_in FORMAT JSONEachRow {"a": 1, "b": "x"}', "1\tx\n"),
    "data in the body": ("INSERT INTO web_in FORMAT TSV", "1\tx\n2\ty\n", "1\tx\n2\ty\n"),
    "values in the body": ("INSERT INTO web_in (a) VALUES", "(1), (2)", "1\t\n2\t\n"),
    "data in both": ("INSERT INTO web_in FORMAT TSV 1\tx", "2\ty\n", "1\tx\n2\ty\n"),
    "settings": (
        "INSERT INTO web_in SETTINGS input_format_tsv_skip_first_lines = 1 FORMAT TSV",
        "0\tskipped\n1\tx\n",
        "1\tx\n",
    ),
    "a select": ("", "INSERT INTO web_in SELECT number, 's' FROM numbers(2)", "0\ts\n1\ts\n"),
    "like SQL": ("INSERT INTO web_in FORMAT TSV", "1\tSELECT (FORMAT\n", "1\tSELECT (FORMAT\n"),
}


@pytest.mark.parametrize(("url", "body", "rows"), INSERTS.values(), ids=INSERTS.keys())
async def test_data_comes_in_the_body(http: Http, url: str, body: str, rows: str) -> None:
    await http("CREATE OR REPLACE TABLE web_in (a UInt32, b String) ENGINE = Memory")
    answer = await http(body, query=url)
    assert answer.text == ""
    summary = json.loads(answer.headers["X-ClickHouse-Summary"])
    assert summary["written_rows"] == str(rows.count("\n"))
    assert (await http("SELECT * FROM web_in ORDER BY a")).text == rows


async def test_parameters_are_for_inserts_too(http: Http) -> None:
    await http("CREATE OR REPLACE TABLE web_in2 (a UInt32, b String) ENGINE = Memory")
    await http("INSERT INTO web_in2 VALUES ({a:UInt32}, {b:String})", param_a="5", param_b="it's")
    assert (await http("SELECT * FROM web_in2")).text == "5\tit\\'s\n"


async def test_data_that_is_wrong_is_refused_as_a_whole(http: Http) -> None:
    await http("CREATE OR REPLACE TABLE web_wrong (a UInt8) ENGINE = Memory")
    answer = await http("1\n2\nthree\n", query="INSERT INTO web_wrong FORMAT TSV")
    assert (answer.code, answer.status) == (27, 400)
    assert (await http("SELECT count() FROM web_wrong")).text == "0\n"


async def test_an_insert_whose_client_leaves_half_way_inserts_nothing(
    http: Http, clickhouse: ClickHouseServer, eventually: Eventually
) -> None:
    await http("CREATE OR REPLACE TABLE web_half (a UInt8) ENGINE = Memory")
    _, writer = await asyncio.open_connection(clickhouse.host, clickhouse.http_port)
    writer.write(
        b"POST /?query=INSERT+INTO+web_half+FORMAT+TSV HTTP/1.1\r\nHost: x\r\n"
        b"Content-Length: 1000\r\n\r\n1\n2\n3\n"
    )
    await writer.drain()
    writer.transport.abort()
    assert (await http("SELECT count() FROM web_half")).text == "0\n"


CODINGS: dict[str, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]] = {
    "gzip": (gzip.compress, gzip.decompress),
    "zstd": (zstd.compress, zstd.decompress),
    "lz4": (lz4.frame.compress, lz4.frame.decompress),
}


@pytest.mark.parametrize("rows", [1, 1_000_000], ids=["small", "large"])
@pytest.mark.parametrize("coding", CODINGS)
async def test_both_ways_can_be_compressed(http: Http, coding: str, rows: int) -> None:
    pack, unpack = CODINGS[coding]
    answer = await http(
        pack(f"SELECT number FROM numbers({rows})".encode()),
        headers={"Content-Encoding": coding, "Accept-Encoding": coding},
        enable_http_compression="1",
    )
    assert answer.headers["Content-Encoding"] == coding
    assert unpack(answer.body).decode() == "".join(f"{i}\n" for i in range(rows))


async def test_frames_of_clickhouses_own_are_taken_and_given(http: Http) -> None:
    ask = b"SELECT number FROM numbers(200000)"
    framed = (await http(ask, compress="1")).body
    await http("CREATE OR REPLACE TABLE web_framed (a UInt32) ENGINE = Memory")
    await http(framed, query="INSERT INTO web_framed FORMAT TSV", decompress="1")
    assert (await http("SELECT count(), sum(a) FROM web_framed")).text == "200000\t19999900000\n"


async def test_an_error_after_the_answer_has_begun_is_seen(http_url: str) -> None:
    done = curl(http_url, "-d", "SELECT number, throwIf(number = 3000000) FROM numbers(5000000)")
    assert done.returncode == 18  # curl: the transfer was not whole
    assert b"Code: 395. DB::Exception: " in done.stdout[-1000:]


async def test_a_client_that_waits_for_the_end_gets_an_error_alone(http: Http) -> None:
    text = "SELECT number, throwIf(number = 3000000) FROM numbers(5000000)"
    answer = await http(text, wait_end_of_query="1")
    assert (answer.code, answer.status) == (395, 500)


async def test_a_query_whose_client_is_gone_is_stopped(
    http: Http, clickhouse: ClickHouseServer, sql: Sql, eventually: Eventually
) -> None:
    async def running() -> int:
        count = "SELECT count() FROM system.processes WHERE query LIKE '%123456789%'"
        ((found,),) = await sql(f"{count} AND query NOT LIKE '%processes%'")
        return int(found)

    for text in (SLOW.replace("000000", "123456789"), "SELECT * FROM numbers(1123456789000)"):
        _, writer = await asyncio.open_connection(clickhouse.host, clickhouse.http_port)
        body = text.encode()
        head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        await eventually(lambda: _is(running, 1))
        writer.transport.abort()
        await eventually(lambda: _is(running, 0))


async def _is(running: Callable[[], Awaitable[int]], wanted: int) -> bool:
    return await running() == wanted


def test_curl_uploads_a_file_that_it_asks_leave_for(http_url: str) -> None:
    """For a larger body curl sends `Expect: 100-continue` and waits."""
    curl(http_url, "-d", "CREATE OR REPLACE TABLE web_curl (a UInt32) ENGINE = Memory")
    rows = "".join(f"{i}\n" for i in range(500_000)).encode()
    url = f"{http_url}/?query=INSERT+INTO+web_curl+FORMAT+TSV"
    done = curl("-H", "Expect: 100-continue", "--data-binary", "@-", url, content=rows)
    assert (done.returncode, done.stdout) == (0, b"")
    done = curl("--compressed", f"{http_url}/?enable_http_compression=1", "-d", "SELECT 1")
    assert done.stdout == b"1\n"
    done = curl("-u", "default:", http_url, "-d", "SELECT count() FROM web_curl")
    assert done.stdout == b"500000\n"


async def test_any_bytes_are_a_query(http: Http) -> None:
    assert (await http(b"SELECT length('\xff\x00\xfe')")).text == "3\n"
    assert (await http(b"SELECT \xff\xfe")).code in {47, 62}


async def test_a_control_rule_holds_for_http(http: Http, clickhouse_control: int) -> None:
    async with aiohttp.ClientSession() as client:
        rules = f"http://127.0.0.1:{clickhouse_control}/rules"
        rule: dict[str, Any] = {"act": "fail", "code": 241, "times": 1, "matching": "web-marker"}
        await client.post(rules, json=rule)
        assert (await http("SELECT 'web-marker'")).code == 241
        await client.post(rules, json={"act": "break", "times": 1, "matching": "web-marker"})
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await http("SELECT 'web-marker'")
        assert (await http("SELECT 'web-marker'")).text == "web-marker\n"
