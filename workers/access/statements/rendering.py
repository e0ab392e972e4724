"""Steps as SQL. A statement stays far below `max_query_size` (262,144 bytes; error 62 beyond)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import assert_never

from app.config.privileges import Privilege
from app.scim.password import parse_hashed
from workers.access.model import (
    LOCAL,
    Home,
    HostKind,
    Interval,
    Login,
    Method,
    Setting,
    kind_of,
)
from workers.access.reach import Grant as Held
from workers.access.statements.quoting import (
    HELD,
    PAST,
    identifiers,
    literals,
    quote_identifier,
    quote_literal,
    quote_time,
)
from workers.access.statements.showing import GRANT_OPTION
from workers.access.steps import (
    Adopt,
    Authenticate,
    Create,
    CreateRole,
    DefaultAll,
    DefaultList,
    Drop,
    DropQuota,
    DropRowFilter,
    GiveBack,
    Grant,
    GrantParents,
    GrantPrivilege,
    Hold,
    KillQueries,
    Lock,
    MarkRole,
    Release,
    Remark,
    Rename,
    Reopen,
    RevokeAdmin,
    RevokeParents,
    RevokePrivilege,
    RevokeRoles,
    SetQuota,
    SetRowFilter,
    SetSettings,
    Settle,
    Step,
    StripPrivileges,
    StripRoles,
    TakeGrants,
    Unlock,
    narrow,
)

ANYWHERE = " HOST ANY"  # how users are made, if nothing else is said
MAX_NAMES = 500
MAX_NAMES_BYTES, MAX_ROLES_BYTES = 120_000, 60_000  # together far below 200,000

# Methods whose parameters are names.
_METHODS = frozenset(
    {"ldap", "kerberos", "ssl_certificate", "http", "no_authentication", "no_password"}
)
_SECRET_METHODS = frozenset({"sha256_password", "bcrypt_password"})


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement as it is sent.

    `step`: what it does, for these `names` only, so that a refused one can be split by `narrow`
    and rendered again. `names`: the users it is about; of a role's statement, the role.
    `query_id`: by which the server's log and the ledger know it, "" for any.
    """

    sql: str = field(repr=False)
    names: tuple[str, ...]
    step: Step
    query_id: str = ""


def render(step: Step, marker: str) -> Iterator[Statement]:
    """Yield the statements that do `step`, each with at most MAX_NAMES users.

    All tolerate repetition but CREATE USER, CREATE ROLE and RENAME: IF NOT EXISTS would let a plan
    go on with a user that somebody else made a moment ago.
    """
    match step:
        case RevokeRoles(names, roles) | RevokeAdmin(names, roles) | Grant(names, roles):
            for some_roles in chunks(roles, MAX_ROLES_BYTES):
                for some in chunks(names, MAX_NAMES_BYTES):
                    part = replace(step, names=some, roles=some_roles)
                    yield Statement(_of_users(part, marker), some, part)
        case Rename(previous, name):
            yield Statement(
                f"ALTER USER {quote_identifier(previous)} RENAME TO {quote_identifier(name)}",
                (previous,),
                step,
            )
        case (
            StripRoles(names)
            | StripPrivileges(names)
            | KillQueries(names)
            | Lock(names)
            | Hold(names)
            | Drop(names)
            | Create(names)
            | Authenticate(names)
            | Unlock(names)
            | Adopt(names)
            | Remark(names)
            | Release(names)
            | Reopen(names)
            | Settle(names)
            | DefaultAll(names)
            | DefaultList(names)
        ):
            for some in chunks(names, MAX_NAMES_BYTES):
                part_of_many = narrow(step, some)
                yield Statement(_of_users(part_of_many, marker), some, part_of_many)
        case GiveBack(names, privileges):
            for some in chunks(names, MAX_NAMES_BYTES):
                for privilege in privileges:
                    yield Statement(_given_back(privilege, some), some, GiveBack(some, privileges))
        case _:
            for sql in _of_role(step, marker):
                yield Statement(sql, (step.role,), step)


def _of_users(
    step: RevokeRoles
    | RevokeAdmin
    | Grant
    | StripRoles
    | StripPrivileges
    | KillQueries
    | Lock
    | Hold
    | Drop
    | Create
    | Authenticate
    | Unlock
    | Adopt
    | Remark
    | Release
    | Reopen
    | Settle
    | DefaultAll
    | DefaultList,
    marker: str,
) -> str:
    users = identifiers(step.names)
    match step:
        case RevokeRoles(_, roles):
            return f"REVOKE {identifiers(roles)} FROM {users}"
        case RevokeAdmin(_, roles):
            return f"REVOKE ADMIN OPTION FOR {identifiers(roles)} FROM {users}"
        case Grant(_, roles, admin):
            option = " WITH ADMIN OPTION" if admin else ""
            return f"GRANT {identifiers(roles)} TO {users}{option}"
        case StripRoles():
            return f"REVOKE ALL EXCEPT {quote_identifier(marker)} FROM {users}"
        case StripPrivileges():
            return f"REVOKE ALL ON *.* FROM {users}"
        case KillQueries():
            return f"KILL QUERY WHERE user IN ({literals(step.names)}) ASYNC"
        case Lock():
            return f"ALTER USER {users} VALID UNTIL {PAST} HOST NONE"
        case Hold():
            return f"ALTER USER {users} VALID UNTIL {HELD} HOST NONE"
        case Drop():
            return f"DROP USER IF EXISTS {users}"
        case Create(_, login, locked):
            # DEFAULT ROLE in CREATE USER grants the role, in the write that makes the user.
            how = _locked(login) if locked else _login(login).removesuffix(ANYWHERE)
            role = quote_identifier(marker)
            return f"CREATE USER {users} IDENTIFIED WITH {how} DEFAULT ROLE {role}"
        case Authenticate(_, login):
            return f"ALTER USER {users} IDENTIFIED WITH {_login(login)}"
        case Unlock(_, login):
            return f"ALTER USER {users} IDENTIFIED WITH {_login(login)}"
        case Adopt() | Remark():
            return f"GRANT {quote_identifier(marker)} TO {users}"
        case Release():
            return f"REVOKE {quote_identifier(marker)} FROM {users}"
        case Reopen(_, hosts, until):
            end = "'infinity'" if until is None else quote_time(until)
            return f"ALTER USER {users} VALID UNTIL {end}{_hosts(hosts)}"
        case DefaultList(_, roles):
            return f"ALTER USER {users} DEFAULT ROLE {identifiers(roles) or 'NONE'}"
        case Settle(_, home, leaving):
            return f"ALTER USER {users} {_home(home, leaving)}"
        case DefaultAll(_, dormant):
            but = f" EXCEPT {identifiers(dormant)}" if dormant else ""
            return f"ALTER USER {users} DEFAULT ROLE ALL{but}"
        case _:
            assert_never(step)


def _of_role(
    step: CreateRole
    | MarkRole
    | RevokePrivilege
    | GrantPrivilege
    | SetRowFilter
    | DropRowFilter
    | SetSettings
    | TakeGrants
    | GrantParents
    | RevokeParents
    | SetQuota
    | DropQuota,
    marker: str,
) -> tuple[str, ...]:
    role = quote_identifier(step.role)
    match step:
        case CreateRole(_, settings):
            its = ", ".join(map(_setting, settings))
            return (f"CREATE ROLE {role}" + (f" SETTINGS {its}" if its else ""),)
        case MarkRole():
            return (f"GRANT {quote_identifier(marker)} TO {role}",)
        case RevokePrivilege(_, privilege):
            return (f"REVOKE {render_privilege(privilege)} FROM {role}",)
        case GrantPrivilege(_, privilege):
            return (f"GRANT {render_privilege(privilege)} TO {role}",)
        case TakeGrants(_, grants):
            return tuple(f"REVOKE {_held(grant)} FROM {role}" for grant in grants)
        case GrantParents(_, parents):
            return (f"GRANT {identifiers(parents)} TO {role}",)
        case RevokeParents(_, parents):
            return (f"REVOKE {identifiers(parents)} FROM {role}",)
        case SetQuota(_, quota, gone):
            name = quote_identifier(f"{marker}:{step.role}")
            rest = f"{name} KEYED BY user_name {', '.join(_intervals(quota))} TO {role}"
            ends = ", ".join(f"FOR INTERVAL {seconds:d} second NO LIMITS" for seconds in gone)
            return (
                f"CREATE QUOTA IF NOT EXISTS {rest}",
                *((f"ALTER QUOTA {name} {ends}",) if gone else ()),
                f"ALTER QUOTA {rest}",
            )
        case DropQuota():
            return (f"DROP QUOTA IF EXISTS {quote_identifier(f'{marker}:{step.role}')}",)
        case SetRowFilter(_, database, table, expression, restrictive):
            policy = _row_policy(marker, step.role, database, table)
            kind = "RESTRICTIVE" if restrictive else "PERMISSIVE"
            rest = f"{policy} FOR SELECT USING ({expression}) AS {kind} TO {role}"
            return (f"CREATE ROW POLICY IF NOT EXISTS {rest}", f"ALTER ROW POLICY {rest}")
        case DropRowFilter(_, database, table):
            policy = _row_policy(marker, step.role, database, table)
            return (f"DROP ROW POLICY IF EXISTS {policy}",)
        case SetSettings(_, settings, gone, profiles):
            changes = [
                *(f"DROP SETTING {quote_identifier(name)}" for name in gone),
                *(f"DROP PROFILE {quote_literal(name)}" for name in profiles),
                *(f"ADD SETTING {_setting(setting)}" for setting in settings),
            ]
            return (f"ALTER ROLE {role} {', '.join(changes)}",)
        case _:
            assert_never(step)


def _row_policy(marker: str, role: str, database: str, table: str) -> str:
    """Name the policy after marker and role: it can be told from those that others made."""
    on = f"{quote_identifier(database)}.{quote_identifier(table)}"
    return f"{quote_identifier(f'{marker}:{role}')} ON {on}"


def render_privilege(privilege: Privilege) -> str:
    """Return the part of a GRANT before TO, as in ``SELECT(`id`) ON `crm`.`customers```."""
    access = ", ".join(
        name + (f"({identifiers(columns)})" if columns else "")
        for name, columns in privilege.access
    )
    database = _pattern(privilege.database, wildcard=privilege.database_wildcard)
    table = _pattern(privilege.table, wildcard=privilege.table_wildcard)
    return f"{access} ON {database}.{table}"


def _pattern(name: str, *, wildcard: bool) -> str:
    return (quote_identifier(name) if name else "") + ("*" if wildcard else "")


def _held(grant: Held) -> str:
    """Return the part of a REVOKE before FROM. Raises ValueError for what is no privilege."""
    if not all(char.isalnum() or char in " _" for char in grant.access):
        raise ValueError(f"{grant.access!r} is no privilege")
    access = grant.access + (f"({quote_identifier(grant.column)})" if grant.column else "")
    if grant.only:
        on = _pattern(grant.only, wildcard=grant.only_wildcard)
    else:
        database = _pattern(grant.database, wildcard=grant.database_wildcard)
        on = f"{database}.{_pattern(grant.table, wildcard=grant.table_wildcard)}"
    return f"{'GRANT OPTION FOR ' if grant.hand_on else ''}{access} ON {on}"


def _intervals(quota: Sequence[Interval]) -> Iterator[str]:
    for seconds, limits in quota:
        most = ", ".join(f"{name} = {amount!r}" for name, amount in limits)
        yield f"FOR INTERVAL {seconds:d} second MAX {most}"


def _setting(setting: Setting) -> str:
    text = quote_identifier(setting.name)
    text += "" if setting.value is None else f" = {_value(setting.value)}"
    text += "" if setting.min is None else f" MIN {_value(setting.min)}"
    text += "" if setting.max is None else f" MAX {_value(setting.max)}"
    return text + " CONST" * setting.const


def _value(value: int | float | str | bool) -> str:  # noqa: PYI041
    match value:
        case bool():
            return str(int(value))
        case str():
            return quote_literal(value)
        case _:
            return repr(value)


def _login(login: Login) -> str:
    """Return what stands after IDENTIFIED WITH: the methods, each with its end if there is one, and
    where the user may come from. One clause, so that there is no moment with the new methods and
    the old hosts.
    """
    end = "" if login.until is None else f" VALID UNTIL {quote_time(login.until)}"
    return ", ".join(_method(method) + end for method in login.methods) + _hosts(login.hosts)


def _locked(login: Login) -> str:
    methods = ", ".join(f"{_method(method)} VALID UNTIL {PAST}" for method in login.methods)
    return f"{methods} HOST NONE"


def _hosts(hosts: Sequence[str]) -> str:
    if not hosts:
        return ANYWHERE
    parts = ["LOCAL"] if LOCAL in hosts else []
    for kind in HostKind:
        some = [host.removeprefix(f"{kind} ") for host in hosts if kind_of(host) is kind]
        parts += [f"{kind.upper()} {literals(some)}"] if some else []
    return f" HOST {', '.join(parts)}"


def _given_back(privilege: str, names: Sequence[str]) -> str:
    """Return the server's own `GRANT …` or `REVOKE …` again, for these users.

    Raises ValueError where it is not what `cut_grant` returns.
    """
    words, option = privilege.removesuffix(GRANT_OPTION), privilege.endswith(GRANT_OPTION)
    if not (words.startswith(("GRANT ", "REVOKE ")) and "\n" not in words and ";" not in words):
        raise ValueError("this is no privilege as the server tells them")
    to = "TO" if words.startswith("GRANT ") else "FROM"
    return f"{words} {to} {identifiers(names)}" + (GRANT_OPTION if option else "")


def _home(home: Home, leaving: Sequence[str]) -> str:
    """Profiles go and come by name: the user's settings stay as they are."""
    database = quote_identifier(home.database) if home.database else "NONE"
    parts = [f"DEFAULT DATABASE {database}"]
    if leaving:
        parts.append(f"DROP PROFILES {literals(leaving)}")
    if home.profiles:
        parts.append(f"ADD PROFILES {literals(sorted(home.profiles))}")
    return " ".join(parts)


def _method(login: Method) -> str:
    """Return a method with its parameters. Raises ValueError for a method that is not ours."""
    if login.method == "ssh_key":
        keys = (value.split(" ") for _, value in login.params)
        shown = (f"KEY {quote_literal(key)} TYPE {quote_literal(kind)}" for kind, key in keys)
        return f"ssh_key BY {', '.join(shown)}"
    if login.method in _SECRET_METHODS:
        return _secret_method(login)
    if login.method not in _METHODS:
        raise ValueError(f"no users are made with the log-in method {login.method!r}")
    given: dict[str, list[str]] = {}
    for key, value in login.params:
        given.setdefault(key, []).append(value)
    parts = [login.method]
    for key, keyword in (
        ("server", "SERVER"),
        ("scheme", "SCHEME"),
        ("realm", "REALM"),
        ("common_name", "CN"),
        ("subject_alt_name", "SAN"),
    ):
        if key in given:
            parts.append(f"{keyword} {literals(given[key])}")
    return " ".join(parts)


def _secret_method(login: Method) -> str:
    hashed = parse_hashed(login.secret)
    if login.method != f"{hashed.method}_password":
        raise ValueError(f"the secret of a {login.method!r} is a hash of another method")
    salt = f" SALT {quote_literal(hashed.salt)}" if hashed.salt else ""
    return f"{hashed.method}_hash BY {quote_literal(hashed.value)}{salt}"


def chunks(
    names: Sequence[str], max_bytes: int, max_names: int = MAX_NAMES
) -> Iterator[tuple[str, ...]]:
    """Yield `names` in order, in parts of at most `max_names` and `max_bytes` as quoted."""
    part: list[str] = []
    size = 0
    for name in names:
        cost = len(quote_identifier(name).encode()) + name.count("'") + 2
        if part and (len(part) == max_names or size + cost > max_bytes):
            yield tuple(part)
            part, size = [], 0
        part.append(name)
        size += cost
    if part:
        yield tuple(part)
