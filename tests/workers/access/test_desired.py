"""What a resource wants on a target: people and agents alike, until their validity ends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.config.tenant import Tenant
from app.errors import InvalidValue
from app.scim.validity import VALIDITY_URN
from workers.access.desired import Identity, Kind, Rules, identity
from workers.access.model import Login, Method, Wanted

UNTIL = 2_000_000_000
ENDING = {VALIDITY_URN: {"validUntil": "2033-05-18T03:33:20Z"}}
OVER = {VALIDITY_URN: {"validUntil": "1990-01-01T00:00:00Z"}}
HASH, OTHER = "sha256:AB:CD", "bcrypt:$2a$04$x"


def rules(**tenant: Any) -> Rules:
    usual = {
        "targets": ["main"],
        "user_name": "{tenant}__{userName}",
        "default_roles": ["employee"],
        "groups": [{"group": "Bots", "roles": ["robot"]}],
        "authentication": {"method": "kerberos"},
    }
    return Rules.of("acme", Tenant.model_validate(usual | tenant))


def want(document: dict[str, Any] | None, of: Rules | None = None, **more: Any) -> Wanted:
    links = {"name:bots": "g1"}
    return (of or rules()).wanted("1", document, frozenset({"g1"}), links, None, **more)


@pytest.mark.parametrize(
    ("kind", "document", "who"),
    [
        ("user", {"userName": "ana"}, Identity("ana", active=True, until=None)),
        ("user", {"userName": "ana", "active": False}, Identity("ana", active=False, until=None)),
        ("agent", {"name": "bot"}, Identity("bot", active=True, until=None)),
        ("agent", {"name": "bot"} | ENDING, Identity("bot", active=True, until=UNTIL)),
    ],
)
def test_a_document_describes(kind: Kind, document: dict[str, Any], who: Identity) -> None:
    assert identity(kind, document) == who


@pytest.mark.parametrize(("kind", "naming"), [("user", "userName"), ("agent", "name")])
def test_agents_get_what_people_get(kind: Kind, naming: str) -> None:
    assert want({naming: "x"}, kind=kind) == Wanted(
        resource_id="1",
        name="acme__x",
        roles=frozenset({"employee", "robot"}),
        login=Login("kerberos"),
    )


LOCALPART = {"user_name": "{userName|localpart}", "verified_domains": ["acme.example"]}


@pytest.mark.parametrize("name", ["bot", "bot@elsewhere.example", "bot@", "@acme.example", ""])
def test_nobody_gets_a_name_by_an_address_elsewhere(name: str) -> None:
    with pytest.raises(InvalidValue):
        rules(**LOCALPART).name(name)


def test_a_name_leads_back_to_the_address_behind_it() -> None:
    of = rules(**LOCALPART)
    assert of.name("Ana@ACME.example") == "Ana"
    assert of.user_name_behind("Ana") == "Ana@acme.example"


@pytest.mark.parametrize("kind", ["user", "agent"])
def test_who_is_deleted_has_no_name(kind: Kind) -> None:
    assert want(None, kind=kind) == Wanted(resource_id="1", name=None, active=False)


@pytest.mark.parametrize(
    ("now_s", "active", "until"),
    [(0, True, UNTIL), (UNTIL - 1, True, UNTIL), (UNTIL, False, None), (UNTIL + 1, False, None)],
)
def test_access_ends_with_validity(now_s: float, active: bool, until: int | None) -> None:
    wanted = want({"name": "bot"} | ENDING, kind="agent", now_s=now_s)
    assert (wanted.active, wanted.login.until) == (active, until)


def test_an_end_that_is_long_past_needs_no_clock() -> None:
    wanted = want({"name": "bot"} | OVER, kind="agent")
    assert (wanted.active, wanted.login.until) == (False, None)


def test_an_end_lets_nobody_in_who_is_inactive() -> None:
    assert not want({"name": "bot", "active": False} | ENDING, kind="agent").active


PASSWORDS = {"method": "password"}


@pytest.mark.parametrize(
    ("secret", "method"),
    [("", "no_authentication"), (HASH, "sha256_password"), (OTHER, "bcrypt_password")],
)
def test_a_password_is_the_way_in_once_there_is_one(secret: str, method: str) -> None:
    wanted = want({"userName": "ana"}, rules(authentication=PASSWORDS), secret=secret)
    assert wanted.login == Login(method, secret=secret)


def test_a_password_is_no_way_in_where_another_method_is() -> None:
    assert want({"userName": "ana"}, secret=HASH).login == Login("kerberos")


def test_a_secret_is_due_until_its_digest_was_applied() -> None:
    of = rules(authentication=PASSWORDS)
    wanted = want({"userName": "ana"}, of, secret=HASH)
    assert wanted.is_secret_due
    again = want({"userName": "ana"}, of, secret=HASH, applied_digest=wanted.login.digest)
    assert not again.is_secret_due
    assert want({"userName": "ana"}, of, secret=OTHER, applied_digest="x").is_secret_due
    assert not want({"userName": "ana"}, of, applied_digest="x").is_secret_due


def test_a_digest_tells_secrets_apart_and_nothing_of_them() -> None:
    digests = {Login("m", secret=secret).digest for secret in ("", HASH, OTHER)}
    assert len(digests) == 3
    assert all(len(digest) in {0, 32} for digest in digests)


SSH = "urn:acme:scim:schemas:2.0:Keys"
KEY, OTHER_KEY = (f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{char * 30}" for char in "ab")
BY_KEY = {
    "schemas": {SSH: {"name": "Keys", "attributes": [{"name": "ssh", "multi_valued": True}]}},
    "authentication": {"method": "ssh_key", "keys": f"{SSH}:ssh"},
}
SENT = {
    "keys, without what is none": (
        [f"{OTHER_KEY} ana@home", "nothing", KEY],
        Login("ssh_key", (("key", KEY), ("key", OTHER_KEY))),
    ),
    "one text": (f" {KEY}\n", Login("ssh_key", (("key", KEY),))),
    "nothing that is one": (["ssh-rsa x'; DROP"], Login("no_authentication")),
    "nothing": (None, Login("no_authentication")),
}


@pytest.mark.parametrize(("sent", "login"), SENT.values(), ids=SENT.keys())
def test_keys_let_in_who_has_sent_some(sent: object, login: Login) -> None:
    document = {"userName": "ana", **({SSH: {"ssh": sent}} if sent else {})}
    assert want(document, rules(**BY_KEY)).login == login


def test_another_key_has_to_be_sent_to_the_target() -> None:
    one, other = (
        want({"userName": "ana", SSH: {"ssh": [key]}}, rules(**BY_KEY)) for key in (KEY, OTHER_KEY)
    )
    assert one.login.observable == other.login.observable
    assert replace(other, applied_digest=one.login.digest).is_secret_due
    assert not replace(one, applied_digest=one.login.digest).is_secret_due


def test_several_ways_stand_side_by_side_and_a_password_joins_them_once_there_is_one() -> None:
    of = rules(further_authentication=[{"method": "password"}, {"method": "ldap", "server": "s"}])
    without, beside = want({"userName": "ana"}, of).login, Method("ldap", (("server", "s"),))
    assert without == Login("kerberos", beside=(beside,))
    with_one = want({"userName": "ana"}, of, secret=HASH).login
    assert with_one.methods == (
        Method("kerberos"),
        Method("sha256_password", secret=HASH),
        beside,
    )
