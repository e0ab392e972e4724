"""docs/configuration.md has every key of the settings, with its default."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from app.config.ledger import LedgerSettings
from app.config.redis import RedisSettings
from app.config.rolemap import RoleMap
from app.config.schemas import DeclaredAttribute, DeclaredSchema
from app.config.sentry import SentrySettings
from app.config.settings import (
    Drift,
    Events,
    Guard,
    Limits,
    ReceiverSettings,
    Settings,
    WorkerSettings,
)
from app.config.target import Target
from app.config.template import Template
from app.config.tenant import (
    GroupMapping,
    Http,
    Kerberos,
    Ldap,
    NoAuthentication,
    NoPassword,
    Password,
    RoleDefinition,
    SshKey,
    SslCertificate,
    Tenant,
)
from app.config.tracing import TracingSettings

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"
METHODS = (Ldap, Kerberos, SslCertificate, Http, Password, SshKey, NoAuthentication, NoPassword)
SECTIONS: dict[str, tuple[type[BaseModel], ...]] = {
    "[redis]": (RedisSettings,),
    "[receiver]": (ReceiverSettings,),
    "[limits]": (Limits,),
    "[worker]": (WorkerSettings,),
    "[drift]": (Drift,),
    "[events]": (Events,),
    "[guard]": (Guard,),
    "[ledger]": (LedgerSettings,),
    "[sentry]": (SentrySettings,),
    "[tracing]": (TracingSettings,),
    "[targets.NAME]": (Target,),
    "[tenants.NAME]": (Tenant,),
    "[tenants.NAME.authentication]": METHODS,
    "[[tenants.NAME.groups]]": (GroupMapping,),
    "[tenants.NAME.roles.ROLE]": (RoleDefinition,),
    '[tenants.NAME.schemas."URN"]': (DeclaredSchema,),
    '[[tenants.NAME.schemas."URN".attributes]]': (DeclaredAttribute,),
}
# Never in the file: it comes from password_env or password_file.
HIDDEN = {"password"}


def tables() -> dict[str, dict[str, str]]:
    """Return key -> default of the first table below each heading of the page."""
    found: dict[str, dict[str, str]] = {}
    for part in re.split(r"^## ", PAGE.read_text("utf-8"), flags=re.MULTILINE)[1:]:
        heading = part.partition("\n")[0].strip("`")
        table = re.search(r"\| key \| default .*?(?:\n\n|\Z)", part, flags=re.DOTALL)
        rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", table[0] if table else "", re.MULTILINE)
        found[heading] = dict(rows)
    return found


def fields(heading: str) -> dict[str, Any]:
    """Return key -> default of a section's models, the first model's where they differ."""
    found: dict[str, Any] = {}
    for model in SECTIONS[heading]:
        for name, field in model.model_fields.items():
            if name not in HIDDEN:
                found.setdefault(name, field.default)
    if "method" in found:  # each model has its own; the tenant's default decides
        found["method"] = Tenant.model_fields["authentication"].default.method
    return found


def value(cell: str) -> Any:
    """Return the default that a cell states, as Settings have it."""
    if cell == "*required*":
        return PydanticUndefined
    if cell == "*none*":
        return None
    return tomllib.loads(f"value = {cell.strip('`')}")["value"]


def stated(default: Any) -> Any:
    if isinstance(default, Template):
        return default.text
    if isinstance(default, BaseModel):
        return default.model_dump()
    return list(default) if isinstance(default, tuple) else default


def test_every_section_of_the_file_is_a_heading_of_the_page() -> None:
    assert set(tables()) == set(SECTIONS)
    told = {heading.strip("[]").partition(".")[0] for heading in SECTIONS}
    assert told == set(Settings.model_fields)


@pytest.mark.parametrize("heading", SECTIONS)
def test_the_page_has_every_key_and_no_other(heading: str) -> None:
    assert set(tables()[heading]) == set(fields(heading))


@pytest.mark.parametrize("heading", SECTIONS)
def test_the_page_states_the_defaults_as_they_are(heading: str) -> None:
    for key, default in fields(heading).items():
        assert value(tables()[heading][key]) == stated(default), key


@pytest.mark.parametrize("model", METHODS, ids=lambda model: model.__name__)
def test_every_method_to_log_in_is_told(model: type[BaseModel]) -> None:
    method = model.model_fields["method"].default
    assert f"\n| `{method}` |" in PAGE.read_text("utf-8")


def test_entries_about_one_group_add_up_and_names_ignore_case() -> None:
    """The page says so."""
    entries = (
        GroupMapping(group="Data", roles=("a",)),
        GroupMapping(group="data", roles=("b",)),
    )
    role_map = RoleMap.of(Tenant(targets=("main",), groups=entries))
    links = dict.fromkeys(role_map.keys_for("DATA", None), "g")
    assert {r for _, gift in role_map.gifts("g", links, {}) for r in gift.roles} == {"a", "b"}
