"""Access statements as the server needs them: whom they name, and which secrets they carry.

The engine never shows a secret, so they are taken from the statement on its way in. Passwords are
hashed here and the engine is given the hash, so that neither it nor the journal holds a password
(except `plaintext_password`, which a server keeps as it is as well).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from app.sandbox.clickhouse.credentials import Method, hash_password
from app.sandbox.clickhouse.faults import ServerError
from app.sandbox.clickhouse.statements import after_execute_as
from app.sandbox.clickhouse.tokens import Kind, Token, parse_tokens, render_name, render_text

NOT_IMPLEMENTED = 48
_PASSWORDS = {
    "SHA256": "sha256_password",
    "DOUBLE_SHA1": "double_sha1_password",
    "SCRAM_SHA256": "scram_sha256_password",
    "BCRYPT": "bcrypt_password",
    "PLAINTEXT": "plaintext_password",
}
_OTHERS = {"LDAP", "KERBEROS", "SSL_CERTIFICATE", "SSH_KEY", "HTTP", "JWT"}
# What a server's users.xml holds, by the keyword of its kind.
USERS_XML = {"USER": ("default",), "PROFILE": ("default", "readonly"), "QUOTA": ("default",)}
_WITHOUT_SECRET = {"NO_PASSWORD", "NO_AUTHENTICATION"}
_PASSWORD_METHOD = re.compile(r"(SHA256|DOUBLE_SHA1|SCRAM_SHA256|BCRYPT|PLAINTEXT)_(PASSWORD|HASH)")
_AFTER_METHOD = {"HOST", "DEFAULT", "SETTINGS", "GRANTEES", "GRANTS", "IN", "ADD", "DROP"}
_CLAUSE_WORDS = {"CN", "SAN", "SERVER", "SCHEME", "REALM", "KEY", "TYPE", "BY", "CLAIMS"}


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessStatement:
    """`sql`: for the engine. `journal`: for a replay by `default`, without EXECUTE AS.

    `users`: those that CREATE, ALTER or DROP USER names. `methods`: what IDENTIFIED says.
    `entities`: how many entities it may be about; 1 means one at most.
    """

    sql: str
    journal: str | None  # None: what it did depends on who ran it, so the whole state is kept
    verb: str
    users: tuple[str, ...] = ()
    methods: tuple[Method, ...] | None = None
    adds: bool = False
    resets: bool = False
    new_name: str | None = None
    if_not_exists: bool = False
    grantees: bool = False  # it has a GRANTEES clause
    entities: int = 1
    current_grants: bool = False  # what it grants depends on what its sender holds
    read_only: str | None = None  # the entity of users.xml that it would change
    right: str = ""  # that whoever may change that one holds


def parse_access_statement(sql: str, caller: str, database: str) -> AccessStatement:
    """Read one access statement as `caller` sends it, with `database` as its current one.

    Raises ServerError 48 where an IDENTIFIED clause has a form that is not known here.
    """
    every = parse_tokens(sql)
    tokens = after_execute_as(every)
    if len(tokens) < len(every):
        caller = named(every[2])
    clause = _Identified.find(tokens)
    changes = clause.changes if clause else []
    if tokens[0].is_word("CREATE", "ALTER"):
        changes = [*changes, *_callers(tokens, caller)]
    rewritten = _replace(sql, changes)
    journal = _for_journal(sql, tokens, changes, caller, database)
    verb = tokens[0].value
    read_only, right = _of_users_xml(tokens, caller)
    entities = 1 + sum(token.is_sign(",") for token in tokens)
    if verb not in {"CREATE", "ALTER", "DROP"} or not _after_user(tokens):
        return AccessStatement(
            sql=rewritten,
            journal=journal,
            verb=verb,
            entities=entities,
            current_grants=any(token.is_word("CURRENT") for token in tokens),
            read_only=read_only,
            right=right,
        )
    words = [token.value for token in tokens if token.kind is Kind.WORD]
    return AccessStatement(
        sql=rewritten,
        journal=journal,
        verb=verb,
        users=_names(tokens, _after_user(tokens)),
        methods=tuple(clause.methods) if clause else None,
        adds=clause is not None and clause.adds,
        resets="RESET" in words and "AUTHENTICATION" in words,
        new_name=_new_name(tokens) if verb == "ALTER" else None,
        if_not_exists=words[2:5] == ["IF", "NOT", "EXISTS"],
        grantees="GRANTEES" in words,
        entities=entities,
        read_only=read_only,
        right=right,
    )


def _after_user(tokens: Sequence[Token]) -> int:
    """Return where the names of a statement about users start; 0 where it is about others."""
    at = 3 if tokens[1].is_word("OR") else 1
    return at + 1 if at < len(tokens) and tokens[at].is_word("USER") else 0


def _of_users_xml(tokens: Sequence[Token], caller: str) -> tuple[str | None, str]:
    """Return which entity of users.xml a statement is about, and the right that it takes.

    A server reads its first user, profiles and quota from a file and refuses every statement about
    them with 495, whatever it would do.
    """
    verb = tokens[0]
    if verb.is_word("GRANT", "REVOKE", "SET"):
        at = find_grantees(tokens, "FROM" if verb.is_word("REVOKE") else "TO")
        names = _names(tokens, at) if at else ()
        if any(token.is_word("CURRENT_USER", "CURRENTUSER") for token in tokens[at:]):
            names += (caller,)
        kind = "USER"
        right = "ROLE ADMIN ON *.*"
    else:
        at = _after(tokens, 0, "OR", "REPLACE")
        at = _after(tokens, at, "SETTINGS")
        kind = tokens[at + 1].value if at + 1 < len(tokens) else ""
        names = _names(tokens, at + 2)
        what = "SETTINGS PROFILE" if kind == "PROFILE" else kind
        right = f"{verb.value} {what} ON {'default' if kind == 'USER' else '*.*'}"
    for name in names:
        if name in USERS_XML.get(kind, ()):
            called = "settings profile" if kind == "PROFILE" else kind.lower()
            return f"{called} `{name}`", right
    return None, ""


def _after(tokens: Sequence[Token], at: int, *words: str) -> int:
    """Return where the last of `words` stands, if they follow the token at `at`, else `at`."""
    followers = tokens[at + 1 : at + 1 + len(words)]
    there = len(followers) == len(words) and all(
        token.is_word(word) for token, word in zip(followers, words, strict=True)
    )
    return at + len(words) if there else at


def find_valid_for(sql: str) -> list[tuple[int, int, str]]:
    """Return each VALID FOR clause: where it starts and ends, and how long it says."""
    tokens = parse_tokens(sql)
    found = []
    for i in range(len(tokens) - 2):
        if not (tokens[i].is_word("VALID") and tokens[i + 1].is_word("FOR")):
            continue
        depth, end = 0, i + 2
        while end < len(tokens) and (
            depth or not (tokens[end].is_sign(",") or tokens[end].is_word(*_AFTER_METHOD))
        ):
            depth += tokens[end].is_sign("(") - tokens[end].is_sign(")")
            end += 1
        start, stop = tokens[i].start, tokens[end - 1].end
        found.append((start, stop, sql[tokens[i + 2].start : stop]))
    return found


def first_entities(sql: str, count: int) -> str:
    """Return the access statement for no more than the first `count` entities that it is about.

    Those are the grantees of GRANT, REVOKE and SET DEFAULT ROLE, and the names of the others.
    """
    tokens = after_execute_as(parse_tokens(sql))
    if tokens[0].is_word("GRANT", "REVOKE", "SET"):
        at = find_grantees(tokens, "FROM" if tokens[0].is_word("REVOKE") else "TO")
    else:
        kinds = ("USER", "ROLE", "QUOTA", "PROFILE", "POLICY")
        at = 1 + next((i for i, token in enumerate(tokens) if token.is_word(*kinds)), 0)
    ends = [end for _, end in _names_at(tokens, at)]
    if len(ends) <= count:
        return sql
    return sql[: tokens[ends[count - 1] - 1].end] + sql[tokens[ends[-1] - 1].end :]


def find_grantees(tokens: Sequence[Token], *words: str) -> int:
    """Return where the grantees start, after one of `words`; 0 where there are none.

    `to` is a name as well, which needs no quotes: what follows it then begins no name.
    """
    for i in range(len(tokens) - 2, 0, -1):
        if tokens[i].is_word(*words):
            follower = tokens[i + 1]
            if follower.kind in {Kind.WORD, Kind.NAME, Kind.TEXT} and not follower.is_word("WITH"):
                return i + 1
    return 0


def _names(tokens: Sequence[Token], at: int) -> tuple[str, ...]:
    """Return the names that start at `at`, after an IF or OR clause."""
    return tuple(name for name, _ in _names_at(tokens, at))


def _names_at(tokens: Sequence[Token], at: int) -> Iterator[tuple[str, int]]:
    """Yield the names that start at `at` and where each ends."""
    if at < len(tokens) and tokens[at].is_word("OR"):
        at += 2
    while at < len(tokens) and tokens[at].is_word("IF", "NOT", "EXISTS"):
        at += 1
    while at < len(tokens):
        name, at = _name_at(tokens, at)
        yield name, at
        if at >= len(tokens) or not tokens[at].is_sign(","):
            return
        at += 1


def _name_at(tokens: Sequence[Token], at: int) -> tuple[str, int]:
    """Return the name at `at` and where it ends.

    `name@'%'` is `name`; `name@'host'` is a name of its own, `name@host` (ClickHouse's
    ASTUserNameWithHost).
    """
    name = named(tokens[at])
    if at + 2 < len(tokens) and tokens[at + 1].is_sign("@"):
        host = named(tokens[at + 2])
        return (name if host in {"%", ""} else f"{name}@{host}"), at + 3
    return name, at + 1


def _new_name(tokens: Sequence[Token]) -> str | None:
    for i in range(len(tokens) - 2):
        if tokens[i].is_word("RENAME") and tokens[i + 1].is_word("TO"):
            return _name_at(tokens, i + 2)[0]
    return None


def named(token: Token) -> str:
    """Return the name that a token is."""
    return token.raw if token.kind is Kind.WORD else token.value


@dataclass(frozen=True, slots=True)
class _Change:
    start: int
    end: int
    text: str


@dataclass(slots=True)
class _Identified:
    """The IDENTIFIED clause: its methods, and what of it must be written differently."""

    tokens: Sequence[Token]
    at: int
    methods: list[Method]
    changes: list[_Change]
    adds: bool = False

    @classmethod
    def find(cls, tokens: Sequence[Token]) -> _Identified | None:
        for i, token in enumerate(tokens):
            if token.is_word("IDENTIFIED") and i > 1:
                clause = cls(tokens, i + 1, [], [], adds=tokens[i - 1].is_word("ADD"))
                if tokens[i - 1].is_word("NOT"):
                    clause.methods.append(Method("no_password"))
                else:
                    clause.read()
                return clause
        return None

    def read(self) -> None:
        """Read the methods. What the grammar does not allow is left as it is, for the engine."""
        named = self._take_word("WITH")
        if named == self._peek().is_word("BY"):
            return
        while True:
            self._read_method("" if named else "WITH ")
            self._skip_deadline()
            if self._peek().is_word("GRANTS"):
                raise ServerError(
                    NOT_IMPLEMENTED, "DB::Exception: the sandbox has no GRANTS of a log-in method"
                )
            follower = self._peek(1)
            if not self._peek().is_sign(",") or not starts_method(follower):
                return
            self.at += 1
            named = True

    def _skip_deadline(self) -> None:
        """VALID UNTIL '…' or VALID FOR and an expression."""
        if not self._take_word("VALID"):
            return
        depth = 0
        self.at += 2
        while (token := self._peek()) is not _END and (
            depth or not (token.is_sign(",") or token.is_word(*_AFTER_METHOD))
        ):
            depth += token.is_sign("(") - token.is_sign(")")
            self.at += 1

    def _read_method(self, prefix: str) -> None:
        start = self._peek()
        if start.is_word("BY"):
            kind, is_hash = "sha256_password", False  # what IDENTIFIED BY means by default
        elif start.kind is Kind.WORD and (found := _PASSWORD_METHOD.fullmatch(start.value)):
            kind, is_hash = _PASSWORDS[found[1]], found[2] == "HASH"
            self.at += 1
        elif start.is_word(*_WITHOUT_SECRET):
            self.methods.append(Method(start.value.lower()))
            self.at += 1
            return
        elif start.is_word(*_OTHERS):
            self._read_foreign(start)
            return
        else:
            raise ServerError(
                NOT_IMPLEMENTED, "DB::Exception: the sandbox cannot read this IDENTIFIED clause"
            )
        if not self._take_word("BY") or self._peek().kind is not Kind.TEXT:
            raise ServerError(
                NOT_IMPLEMENTED, "DB::Exception: the sandbox wants a literal after IDENTIFIED … BY"
            )
        end = self._peek()
        self.at += 1
        salt = ""
        if self._take_word("SALT"):
            salt = self._peek().value
            end = self._peek()
            self.at += 1
        if is_hash:
            secret = end.value if not salt else self.tokens[self.at - 3].value
            self.methods.append(
                Method(kind, secret if kind == "bcrypt_password" else secret.lower(), salt)
            )
            return
        method = hash_password(kind, end.value)
        self.methods.append(method)
        if kind != "plaintext_password":
            text = f"{prefix}{kind.removesuffix('password')}hash BY {render_text(method.secret)}"
            if method.salt:
                text += f" SALT {render_text(method.salt)}"
            self.changes.append(_Change(start.start, end.end, text))

    def _read_foreign(self, start: Token) -> None:
        """A method that another party decides. The embedded engine was built without SSH and
        refuses its keys, so it is given a certificate's name in their place.
        """
        self.at += 1
        while (
            self._peek().is_word(*_CLAUSE_WORDS)
            or self._peek().kind is Kind.TEXT
            or (
                self._peek().is_sign(",")
                and (self._peek(1).kind is Kind.TEXT or self._peek(1).is_word("CN", "SAN", "KEY"))
            )
        ):
            self.at += 1
        self.methods.append(Method(start.value.lower()))
        if start.is_word("SSH_KEY"):
            end = self.tokens[self.at - 1].end
            self.changes.append(_Change(start.start, end, "ssl_certificate CN 'ssh_key'"))

    def _peek(self, ahead: int = 0) -> Token:
        return self.tokens[self.at + ahead] if self.at + ahead < len(self.tokens) else _END

    def _take_word(self, word: str) -> bool:
        if self._peek().is_word(word):
            self.at += 1
            return True
        return False


_END = Token(Kind.SIGN, "", 0, 0, "")


def starts_method(token: Token) -> bool:
    return token.is_word("BY", *_WITHOUT_SECRET, *_OTHERS) or (
        token.kind is Kind.WORD and _PASSWORD_METHOD.fullmatch(token.value) is not None
    )


def _replace(sql: str, changes: Sequence[_Change], start: int = 0) -> str:
    for change in sorted(changes, key=lambda change: change.start, reverse=True):
        sql = sql[: change.start] + change.text + sql[change.end :]
    return sql[start:]


def _for_journal(
    sql: str, tokens: Sequence[Token], changes: Sequence[_Change], caller: str, database: str
) -> str | None:
    """Return the statement as `default` can run it again, with the same effect."""
    grants = tokens[0].is_word("GRANT", "REVOKE", "SET")
    more = [*changes, *_callers(tokens, caller)] if grants else changes
    for token in tokens:
        if token.is_word("CURRENT") and grants:
            return None  # CURRENT GRANTS
        if token.is_word("ON") and database != "default":
            return None  # a table without its database
    return _replace(sql, more, tokens[0].start)


def _callers(tokens: Sequence[Token], caller: str) -> Iterator[_Change]:
    """Yield the caller's name for each CURRENT_USER that is one of those a statement is for.

    In a policy's condition it is a function, which asks who reads, not who made the policy.
    """
    places = [i for i, token in enumerate(tokens) if token.is_word("CURRENT_USER", "CURRENTUSER")]
    if not places:
        return
    condition = _condition(tokens)
    grantees = (i for i, token in enumerate(tokens) if token.is_word("TO", "FROM", "GRANTEES"))
    first = next(grantees, len(tokens))
    for i in places:
        token = tokens[i]
        if i > first and i not in condition:
            called = i + 2 < len(tokens) and tokens[i + 1].is_sign("(")
            end = tokens[i + 2].end if called else token.end
            yield _Change(token.start, end, render_name(caller))


def _condition(tokens: Sequence[Token]) -> range:
    """Return where a row policy says which rows it is about; nowhere in other statements."""
    words = [token.value if token.kind is Kind.WORD else "" for token in tokens]
    if "POLICY" not in words[:5] or "USING" not in words:
        return range(0)
    names = max((i for i, word in enumerate(words) if word == "TO"), default=len(words))
    return range(words.index("USING"), names)
