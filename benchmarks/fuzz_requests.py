"""The requests of `fuzz`: bodies, filters, paths, headers and methods, made by chance."""

from __future__ import annotations

import contextlib
import json
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

POOL = 12  # resources of a kind that a client keeps changing
CANARY = "canary-password-7f3a"

MESSAGES = "urn:ietf:params:scim:api:messages:2.0:"
CORE = "urn:ietf:params:scim:schemas:core:2.0"
USER, GROUP = f"{CORE}:User", f"{CORE}:Group"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"


def words(text: str) -> list[str]:
    return text.split()


OPERATORS = ("eq", "ne", "co", "sw", "ew", "gt", "lt", "ge", "le")
ATTRIBUTES = (
    *words("id externalId userName displayName name name.givenName nickName.x title active"),
    *words("emails emails.value emails.type members members.value members.type members.$ref"),
    *words("groups.value meta meta.created meta.lastModified meta.version schemas password"),
    *words("addresses.country photos.value x509Certificates roles manager unknown $ref USERNAME"),
    *(f"{USER}:userName", f"{ENTERPRISE}:department", f"{ENTERPRISE}:manager.value"),
    *(f"{GROUP}:displayName", "urn:a:b:c:d"),
)
MULTI = ("emails", "phoneNumbers", "addresses", "roles", "members", "photos", "ims", "entitlements")
SUBS = ("value", "type", "primary", "display", "$ref", "country", "unknown", "VALUE")
STRINGS = (
    *("", " ", "a", "work", "Work", "1", "true", "null", "ana@x.example"),
    *("2026-01-31T09:30:00Z", "2026-02-30T25:00:00+99:99"),
    *("\x00", "\x1f", "\x7f", "\u2028", "\ufeff", "İ", "ß", "é", "e\u0301", "🦀", "\U0001d56c"),
    *("\U0010ffff", "a" * 255, "a" * 256, "a" * 257, "x" * 70_000),
    *('"', "\\", '\\"', "'", "`", "{}", "[]", "*", "../..", "%00", "%2e%2e", "\r\n"),
    *("${jndi:x}", "'; DROP USER default; --", "{{7*7}}", "<b>", "1e400", "-0", "NaN"),
    *("/Users/1", "https://x.example/Users/1", "bulkId:q", "bulkId:", "urn:", USER, ENTERPRISE),
    *(f"{USER}:userName", "members[value eq", "AAAA", "!!"),
)
NUMBERS = (0, -1, 1, 2, 10**6, 2**31, 2**53, 2**63, 2**64, 10**40, 0.1, -1e308, 1e308, 5e-324)
PARAMETERS = (
    *words("filter filter filter attributes excludedAttributes sortBy sortOrder"),
    *words("startIndex count cursor unknown FILTER"),
)
ENDPOINTS = ("Users", "Groups", "Agents", "AgenticApplications")
METHODS = words("GET GET GET POST PUT PATCH DELETE HEAD OPTIONS TRACE FOO")
HEADERS = (
    ("Content-Type", ("application/json", "text/plain", "application/scim+json;charset=latin-1")),
    ("Content-Type", ("", ";", "a", "application/", "multipart/form-data", "APPLICATION/JSON")),
    ("Content-Type", ('application/json; charset="', "application/json; charset=\xff", "*/*")),
    ("Accept", ("application/scim+json", "text/html", "*/*", "", "q=0", "application/xml;q=1")),
    ("Accept-Encoding", ("gzip", "br", "identity;q=0", "*")),
    ("Content-Encoding", ("gzip", "identity", "deflate", "br", "x")),
    ("If-Match", ('W/"1"', "*", '"1"', 'W/"x"', "W/", '"', 'W/"1", W/"2"', "1", "", "\xe9")),
    ("If-None-Match", ('W/"1"', "*", '"1"', 'W/"x"', "W/", '"', 'W/"1", W/"2"', "1", ",,,")),
    ("If-Modified-Since", ("Tue, 24 Nov 2026 21:00:00 GMT", "x")),
    ("X-Request-Id", ("a", "a" * 65, "..", "<script>", "\xe9")),
    ("Authorization", ("Bearer x", "Basic eA==", "Basic !", "Bearer", "", "Digest x", "\xe9")),
    ("Prefer", ("return=minimal",)),
    ("Range", ("bytes=0-1",)),
    ("Cookie", ("a=b; c", "\xe9=1")),
    ("Host", ("", "a b", "evil.example", "[::1]:80", "x" * 300, "\xe9")),
    ("X-HTTP-Method-Override", ("DELETE",)),
    ("X-Forwarded-Host", ("evil.example",)),
)


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent, as it stands. `kind` names the generator, for the table."""

    kind: str
    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None

    def as_curl(self, base: str) -> str:
        parts = ["curl", "-X", self.method, f"'{base}{self.target}'"]
        parts += [f"-H '{name}: {value}'" for name, value in self.headers]
        if self.body is not None:
            text = self.body if len(self.body) < 600 else self.body[:600] + b"..."
            parts.append(f"-d {text!r}")
        return " ".join(parts)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Grammar:
    """Filters and PATCH paths by RFC 7644's ABNF, and the same broken."""

    chance: random.Random

    def filter(self, depth: int = 0) -> str:
        """FILTER = attrExp / logExp / valuePath / *1"not" "(" FILTER ")"."""
        chance = self.chance
        kind = chance.random() + depth * 0.12
        if kind < 0.15:
            return f"{self.filter(depth + 1)} {self.case('and')} {self.filter(depth + 1)}"
        if kind < 0.3:
            return f"{self.filter(depth + 1)} {self.case('or')} {self.filter(depth + 1)}"
        if kind < 0.4:
            return f"{self.case('not')} ({self.filter(depth + 1)})"
        if kind < 0.5:
            return f"({self.filter(depth + 1)})"
        if kind < 0.65:
            return self.value_path(depth)
        return self.comparison(self.chance.choice(ATTRIBUTES))

    def value_path(self, depth: int = 3) -> str:
        inner = " and ".join(
            self.comparison(self.chance.choice(SUBS)) for _ in range(depth % 2 + 1)
        )
        return f"{self.chance.choice(MULTI)}[{inner}]"

    def comparison(self, path: str) -> str:
        if self.chance.random() < 0.15:
            return f"{path} {self.case('pr')}"
        return f"{path} {self.case(self.chance.choice(OPERATORS))} {self.value()}"

    def value(self) -> str:
        """Return false, null, true, a number or a string, as JSON has them."""
        kind = self.chance.random()
        if kind < 0.2:
            return self.chance.choice(("true", "false", "null"))
        if kind < 0.35:
            return json.dumps(self.chance.choice(NUMBERS))
        return json.dumps(self.chance.choice(STRINGS), ensure_ascii=self.chance.random() < 0.5)

    def path(self) -> str:
        """PATH = attrPath / valuePath [subAttr]."""
        kind = self.chance.random()
        if kind < 0.5:
            return self.chance.choice(ATTRIBUTES)
        path = self.value_path()
        return path if kind < 0.75 else f"{path}.{self.chance.choice(SUBS)}"

    def broken(self, text: str) -> str:
        """Return the text, half of the time with a few characters or words changed."""
        if self.chance.random() < 0.5:
            return text
        for _ in range(self.chance.randint(1, 3)):
            at, to = sorted((self.chance.randint(0, len(text)), self.chance.randint(0, len(text))))
            match self.chance.randint(0, 4):
                case 0:
                    text = text[:at] + text[at + 1 :]
                case 1:
                    text = text[:at] + self.chance.choice('()[]"\\.: \x00é🦀andnot') + text[at:]
                case 2:
                    text = text[:at] + text[to:]
                case 3:
                    text = (text[:to] + text[at:])[:9000]
                case _:
                    text = (
                        self.chance.choice(("(", "not ", "[", '"', "a.b.c.d", "not("))
                        * (self.chance.choice((1, 40, 3000)))
                        + text
                    )
        return text

    def case(self, word: str) -> str:
        return self.chance.choice((word, word, word.upper(), word.capitalize()))


@dataclass(frozen=True, slots=True)
class Deep:
    """A string inside so many lists or objects: deeper than an encoder would go."""

    levels: int
    listed: bool

    def dumped(self) -> bytes:
        opening, closing = (b"[", b"]") if self.listed else (b'{"value":', b"}")
        return opening * self.levels + b'"x"' + closing * self.levels


@dataclass(slots=True)
class Maker:
    """Makes one client's requests. It keeps the ids that it was given, to come back to them."""

    chance: random.Random
    prefix: str
    grammar: Grammar
    ids: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in ENDPOINTS})
    made: int = 0

    def next(self) -> Request:
        self.made += 1
        makers: tuple[Callable[[], Request], ...] = (
            *(self.create, self.create, self.replace, self.patch, self.patch, self.patch),
            *(self.listed, self.listed, self.one, self.delete, self.bulk, self.search, self.odd),
        )
        return self._dressed(self.chance.choice(makers)())

    def learn(self, request: Request, answer: Answer) -> None:
        """Remember an id that a POST was given, forget one that is gone."""
        endpoint = request.target.lstrip("/").split("?")[0].split("/")[0]
        if endpoint not in self.ids:
            return
        if request.kind == "create" and answer.status == 201:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                self.ids[endpoint].append(json.loads(answer.body)["id"])
                self.ids[endpoint] = self.ids[endpoint][-POOL:]
        elif request.kind == "delete" and answer.status == 204:
            gone = request.target.split("/")[-1]
            self.ids[endpoint] = [known for known in self.ids[endpoint] if known != gone]

    def create(self) -> Request:
        endpoint = self._endpoint()
        body = self._resource(endpoint)
        return Request("create", "POST", f"/{endpoint}{self._query(0.1)}", body=self._json(body))

    def replace(self) -> Request:
        endpoint = self._endpoint()
        body = self._resource(endpoint)
        target = f"/{endpoint}/{self._id(endpoint)}{self._query(0.1)}"
        return Request("replace", "PUT", target, body=self._json(body))

    def patch(self) -> Request:
        endpoint = self._endpoint()
        target = f"/{endpoint}/{self._id(endpoint)}{self._query(0.1)}"
        return Request("patch", "PATCH", target, body=self._json(self._patch()))

    def listed(self) -> Request:
        return Request("list", "GET", f"/{self._endpoint()}{self._query(0.9)}")

    def one(self) -> Request:
        endpoint = self._endpoint()
        return Request("get", "GET", f"/{endpoint}/{self._id(endpoint)}{self._query(0.4)}")

    def delete(self) -> Request:
        endpoint = self._endpoint()
        return Request("delete", "DELETE", f"/{endpoint}/{self._id(endpoint)}")

    def search(self) -> Request:
        body: dict[str, Any] = {
            "schemas": [f"{MESSAGES}SearchRequest"],
            "filter": self.grammar.broken(self.grammar.filter()),
            "attributes": self.chance.sample(ATTRIBUTES, 2),
            "startIndex": self.chance.choice(NUMBERS),
            "count": self.chance.choice((*NUMBERS, 3)),
            "sortBy": self.grammar.path(),
            "sortOrder": self.chance.choice(("ascending", "descending", "up", None)),
        }
        for name in self.chance.sample(sorted(body), self.chance.randint(0, 6)):
            del body[name]
        where = self.chance.choice(("", "/Users", "/Groups", "/Agents")) + "/.search"
        return Request("search", "POST", where, body=self._json(body))

    def bulk(self) -> Request:
        operations = [self._bulk_operation(n) for n in range(self.chance.randint(0, 6))]
        body: dict[str, Any] = {
            "schemas": [f"{MESSAGES}BulkRequest"],
            "failOnErrors": self.chance.choice((None, 0, 1, 2, -1, "1", 2**70)),
            "Operations": operations,
        }
        return Request("bulk", "POST", "/Bulk", body=self._json(body))

    def odd(self) -> Request:
        """Any method at any path."""
        paths = (
            *("", "/", "//", "/Users/", "/Users/a/b", "/users", "/Me", "/Bulk", "/.search"),
            *("/ServiceProviderConfig", "/ResourceTypes", "/ResourceTypes/User", "/Schemas"),
            *(f"/Schemas/{USER}", "/Schemas/%00", "/Users/%2e%2e%2fGroups", "/Users/%ff"),
            *("/%c0%af", "/../../metrics", "/Users;a=b", "/Users/.search/x", "/Agents"),
            *("/Users?%", "/Users#x"),
            *(f"/{quote(text)[:2000]}" for text in self.chance.sample(STRINGS, 2)),
            f"/Users/{quote(self.chance.choice(STRINGS))[:2000]}",
        )
        body = self._json(self._value(0)) if self.chance.random() < 0.4 else None
        path = self.chance.choice(paths) + self._query(0.3)
        return Request("odd", self.chance.choice(METHODS), path, body=body)

    def _bulk_operation(self, number: int) -> dict[str, Any]:
        endpoint = self._endpoint()
        method = self.chance.choice(("POST", "POST", "PUT", "PATCH", "DELETE", "GET", "post", 7))
        data = self._patch() if method == "PATCH" else self._resource(endpoint)
        reference = f"bulkId:q{self.chance.randint(0, 6)}"
        if isinstance(data.get("members"), list) and self.chance.random() < 0.5:
            data["members"].append({"value": reference})
        one = f"/{endpoint}/{self.chance.choice((self._id(endpoint), reference))}"
        operation: dict[str, Any] = {
            "method": method,
            "path": f"/{endpoint}" if method == "POST" else one,
            "bulkId": f"q{number}",
            "version": self.chance.choice((None, 'W/"1"', 1)),
            "data": data,
        }
        if self.chance.random() < 0.2:
            del operation[self.chance.choice(sorted(operation))]
        return operation

    def _resource(self, endpoint: str) -> dict[str, Any]:
        name = f"{self.prefix}-{self.chance.randint(0, 60)}"
        if endpoint == "Groups":
            members = self.chance.sample(self.ids["Users"], min(3, len(self.ids["Users"])))
            members += self.chance.sample(self.ids["Groups"], min(1, len(self.ids["Groups"])))
            return {
                "schemas": [GROUP],
                "displayName": name,
                "externalId": self.chance.choice(STRINGS) or None,
                "members": [{"value": member, "display": None} for member in members],
            }
        if endpoint != "Users":
            return {
                "schemas": [f"{CORE}:{endpoint[:-1]}"],
                "name": name,
                "displayName": self.chance.choice(STRINGS),
                "active": self.chance.choice((True, False, "True")),
                "owners": [{"value": self._id("Users")}],
            }
        return {
            "schemas": [USER, ENTERPRISE],
            "userName": f"{name}@x.example",
            "externalId": name,
            "name": {"givenName": "Ana", "familyName": self.chance.choice(STRINGS)},
            "emails": [{"value": f"{name}@x.example", "type": "work", "primary": True}],
            "active": self.chance.choice((True, False, "True", "false")),
            "password": CANARY,
            "roles": [],
            "meta": {"resourceType": "User"},
            ENTERPRISE: {"department": "D", "manager": {"value": self._id("Users")}},
        }

    def _patch(self) -> dict[str, Any]:
        count = self.chance.choice((1, 1, 1, 1, 1, 2, 20))
        operations = [
            self._plausible() if self.chance.random() < 0.6 else self._operation()
            for _ in range(count)
        ]
        return {"schemas": [f"{MESSAGES}PatchOp"], "Operations": operations}

    def _plausible(self) -> dict[str, Any]:
        """An operation that a provider could send."""
        member = {"value": self._id("Users")}
        return self.chance.choice(
            (
                {"op": "replace", "path": "active", "value": self.chance.choice((True, "False"))},
                {"op": "Add", "path": "members", "value": [member]},
                {"op": "remove", "path": f'members[value eq "{member["value"]}"]'},
                {"op": "replace", "value": {"displayName": f"{self.prefix}-{self.made}"}},
                {"op": "add", "path": 'emails[type eq "work"].value', "value": "a@x.example"},
                {"op": "replace", "path": f"{ENTERPRISE}:department", "value": "D"},
                {"op": "replace", "path": "password", "value": CANARY},
                {"op": "remove", "path": self.chance.choice(ATTRIBUTES)},
                {"op": "add", "path": "name", "value": {"givenName": self.chance.choice(STRINGS)}},
            )
        )

    def _operation(self) -> dict[str, Any]:
        """An operation with any path and any value, now and then without one of them."""
        value: Any = self._value(1)
        if self.chance.random() < 0.3:
            value = [{"value": self._id(self._endpoint())}]
        elif self.chance.random() < 0.2:
            value = {self.grammar.path(): self._value(1) for _ in range(2)}
        operation: dict[str, Any] = {
            "op": self.chance.choice(("add", "replace", "remove", "Add", "REPLACE", "move", 1)),
            "path": self.grammar.broken(self.grammar.path()),
            "value": value,
        }
        if self.chance.random() < 0.3:
            del operation[self.chance.choice(("op", "path", "path", "value"))]
        return operation

    def _value(self, depth: int) -> Any:
        """Any JSON value; deep and wide ones too."""
        match self.chance.randint(0, 9 if depth < 4 else 6):
            case 0 | 1 | 2:
                return self.chance.choice(STRINGS)
            case 3:
                return self.chance.choice(NUMBERS)
            case 4:
                return self.chance.choice((True, False, None))
            case 5:
                return []
            case 6:
                return {}
            case 7:
                return [self._value(depth + 1) for _ in range(self.chance.randint(1, 4))]
            case 8:
                keys = self.chance.sample((*SUBS, "name", "active", "schemas", ""), 3)
                return {key: self._value(depth + 1) for key in keys}
            case _:
                return Deep(self.chance.choice((3, 20, 200, 3000)), self.chance.random() < 0.5)

    def _json(self, body: Any) -> bytes:
        """Return the body as text: mutated as JSON, now and then as bytes."""
        if isinstance(body, dict) and self.chance.random() < 0.4:
            for _ in range(self.chance.randint(1, 3)):
                self._mutate(body)
        text = _dumped(body)
        if self.chance.random() < 0.06:
            at = self.chance.randint(0, len(text))
            junk = (b"\xff", b"\x00", b"", b"{", b'"', b"\xed\xa0\x80", b"NaN", b"[" * 5000, b",")
            text = text[:at] + self.chance.choice(junk) + text[at + self.chance.randint(0, 9) :]
        elif self.chance.random() < 0.05:
            marks = (b"\xef\xbb\xbf", b"  \n", b"\xff\xfe")
            text = self.chance.choice(marks) + text
        return text

    def _mutate(self, body: dict[str, Any]) -> None:
        """Change one member of the body, or of an object in it; a password stays a password."""
        place = body
        while inner := [v for v in _objects(place) if v]:
            if self.chance.random() < 0.4:
                break
            place = self.chance.choice(inner)
        keys = [key for key in place if key.lower() != "password"]
        if not keys:
            return
        key = self.chance.choice(keys)
        match self.chance.randint(0, 6):
            case 0:
                del place[key]
            case 1 | 2:
                place[key] = self._value(1)
            case 3:
                place[key.swapcase()] = place[key]
            case 4:
                place[self.chance.choice((*ATTRIBUTES, *STRINGS[:20]))] = place.pop(key)
            case 5:
                many = 600 if len(_dumped(place[key])) < 10_000 else 2
                place[key] = [place[key]] * self.chance.choice((1, 2, many))
            case _:
                place[key] = {"value": place[key]}

    def _query(self, likely: float) -> str:
        if self.chance.random() > likely:
            return ""
        chosen: list[tuple[str, str]] = []
        for _ in range(self.chance.randint(1, 4)):
            name = self.chance.choice(PARAMETERS)
            match name:
                case "filter" | "FILTER":
                    value = self.grammar.broken(self.grammar.filter())
                case "attributes" | "excludedAttributes":
                    value = ",".join(self.chance.sample(ATTRIBUTES, self.chance.randint(0, 4)))
                case "sortBy":
                    value = self.grammar.broken(self.grammar.path())
                case "startIndex" | "count":
                    value = str(self.chance.choice((*NUMBERS, "", "x", "1.0", "+1", "٣")))
                case _:
                    value = self.chance.choice(STRINGS)
            chosen.append((name, value[:6000]))
        parts = [f"{name}={self._quoted(value)}" for name, value in chosen]
        return "?" + self.chance.choice(("&", "&", "&&", "&=&")).join(parts)

    def _quoted(self, value: str) -> str:
        text = quote(value, safe="", errors="surrogatepass")
        if self.chance.random() < 0.5:
            text = text.replace("%20", "+")
        return (
            self.chance.choice(("%", "%zz", "%ff", "%C3")) if self.chance.random() < 0.03 else text
        )

    def _dressed(self, request: Request) -> Request:
        """Add the usual content type and, sometimes, headers that are not usual."""
        headers: list[tuple[str, str]] = []
        if request.body is not None:
            headers.append(("Content-Type", "application/scim+json"))
        while self.chance.random() < 0.15:
            name, values = self.chance.choice(HEADERS)
            headers = [h for h in headers if h[0] != name]
            headers.append((name, self.chance.choice(values)))
        return Request(request.kind, request.method, request.target, tuple(headers), request.body)

    def _endpoint(self) -> str:
        return self.chance.choice(ENDPOINTS if self.chance.random() < 0.2 else ENDPOINTS[:2])

    def _id(self, endpoint: str) -> str:
        known = self.ids[endpoint]
        if known and self.chance.random() < 0.9:
            return self.chance.choice(known)
        return self.chance.choice(("nobody", "0", str(uuid.UUID(int=0)), "%20", "a" * 300))


def _objects(place: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the objects that are one step further inside."""
    found: list[dict[str, Any]] = []
    for value in place.values():
        found += [v for v in (value if isinstance(value, list) else [value]) if isinstance(v, dict)]
    return found


def _dumped(body: Any) -> bytes:
    if isinstance(body, Deep):
        return body.dumped()
    if isinstance(body, dict):
        parts = (json.dumps(str(k)).encode() + b":" + _dumped(v) for k, v in body.items())
        return b"{" + b",".join(parts) + b"}"
    if isinstance(body, list):
        return b"[" + b",".join(map(_dumped, body)) + b"]"
    return json.dumps(body).encode()
