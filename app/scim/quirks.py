"""Quirks: where what identity providers send is not what the RFCs say, and is taken all the same.

Each has a name that a report counts it under, so that an administrator sees what a provider or a
mapping does. What the RFCs allow is no quirk: names in any case, null for nothing (RFC 7643 §2.1
and §2.5), operators in any case (RFC 7644 §3.4.2.2), read-only attributes in a PUT (§3.5.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Quirk(StrEnum):
    """Documents and captures behind each are named in its comment."""

    # Entra ID without `aadOptscim062020`: `"active": "False"` (Microsoft Learn, "Known issues with
    # SCIM 2.0 protocol compliance"); Keycloak's plug-in and OneLogin's templates send it as well.
    BOOLEAN_AS_TEXT = "boolean-as-text"
    # Rippling adds one member as an object; templates of OneLogin hold one address without a list.
    VALUE_WITHOUT_LIST = "value-without-list"
    # Entra ID in older modes: `[{"$ref": null, "value": "False"}]` for one value, lists for
    # `manager` (MicrosoftDocs/azure-docs #11784).
    WRAPPED_VALUE = "wrapped-value"
    # Entra ID sets `manager` to a bare id (SCIM-SDK #686), and `roles` to bare strings.
    BARE_VALUE = "bare-value"
    # authentik before 2024: bodies of PATCH without `schemas`; hand-made clients, of POST as well.
    SCHEMAS_MISSING = "schemas-missing"
    # OneLogin's templates: `urn:scim:schemas:core:1.0` and the like, of SCIM 1.1 and of drafts.
    OLD_SCHEMA = "old-schema"
    # Entra ID's groups: `http://schemas.microsoft.com/2006/11/…/ADSCIM/2.0/Group`.
    FOREIGN_SCHEMA = "foreign-schema"
    # SCIM 1.1's `managerId` in OneLogin's templates, `email` in PingOne's look-ups, the
    # `agentUserName` of draft-wzdk-scim-agent-resource.
    OTHER_NAME = "other-name"
    # A mapping of the provider names what no schema here has: Entra's and Okta's custom attributes.
    UNKNOWN_ATTRIBUTE = "unknown-attribute"

    # Entra ID without the flag: `"op": "Add"`, `"Replace"`, `"Remove"`.
    OP_IN_CAPITALS = "op-in-capitals"
    # Entra ID with the flag: one `replace` without path whose keys are `name.givenName` or a URN
    # path (Microsoft Learn, as above).
    PATH_AS_KEY = "path-as-key"
    # Okta: `replace` without path of `{"id": …, "displayName": …}` (Okta's SCIM 2.0 reference).
    READ_ONLY_IN_PATCH = "read-only-in-patch"
    # Entra ID and older authentik: `remove` of `members` with the list of those who go.
    REMOVE_BY_VALUE = "remove-by-value"
    # Seen by bitwarden/server: `add` at `members[value eq "id"]`.
    ADD_BY_FILTER = "add-by-filter"
    # Entra ID: `emails[type eq "work"].value` creates the address that it names.
    CREATED_BY_FILTER = "created-by-filter"
    # A PATCH that deactivates is done without the part that no schema knows: access must not
    # outlive a mistake in a mapping (Chainguard's guide for Entra ID tells of the harm).
    UNKNOWN_PATH_LEFT_OUT = "unknown-path-left-out"

    # authentik in one version at least: `userName eq ana`, without quotes.
    VALUE_WITHOUT_QUOTES = "value-without-quotes"
    # Entra ID's validator: `roles[primary eq "True"]`.
    QUOTED_BOOLEAN = "quoted-boolean"
    # Entra ID: `emails[type eq "work"].value eq "a@b.c"`, which the grammar does not have.
    COMPARED_AFTER_BRACKETS = "compared-after-brackets"
    # Entra ID: `manager eq "1"` for `urn:…:enterprise:2.0:User:manager`.
    EXTENSION_WITHOUT_URN = "extension-without-urn"


READ_AS: Mapping[Quirk, str] = MappingProxyType(
    {
        Quirk.BOOLEAN_AS_TEXT: '"True" and "False" in any case are true and false',
        Quirk.VALUE_WITHOUT_LIST: "one value is a list of one",
        Quirk.WRAPPED_VALUE: "the one value in the list or object",
        Quirk.BARE_VALUE: "text or a number is the `value` of the object that belongs there",
        Quirk.SCHEMAS_MISSING: "the URL names the type",
        Quirk.OLD_SCHEMA: "the URN means today's schema",
        Quirk.FOREIGN_SCHEMA: "left out of `schemas`",
        Quirk.OTHER_NAME: "the attribute that the RFC calls otherwise",
        Quirk.UNKNOWN_ATTRIBUTE: "left out; declare it under tenants.NAME.schemas to keep it",
        Quirk.OP_IN_CAPITALS: "the operation of that name",
        Quirk.PATH_AS_KEY: "each key is the path of an operation",
        Quirk.READ_ONLY_IN_PATCH: "left out",
        Quirk.REMOVE_BY_VALUE: "only the listed values go",
        Quirk.ADD_BY_FILTER: "the member that the filter names is added",
        Quirk.CREATED_BY_FILTER: "a value that fits the filter is made where there is none",
        Quirk.UNKNOWN_PATH_LEFT_OUT: "the deactivation is done, the rest left out",
        Quirk.VALUE_WITHOUT_QUOTES: "text, where it is one token and the attribute is text",
        Quirk.QUOTED_BOOLEAN: "true or false",
        Quirk.COMPARED_AFTER_BRACKETS: "one and the same value fulfils both",
        Quirk.EXTENSION_WITHOUT_URN: "the attribute of that name in an extension",
    }
)
"""How a quirk is read, in words for people."""
