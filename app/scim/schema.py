"""The resource types that this service knows, as data; here User, its extension, and Group."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from app.scim.agents import AGENT, AGENTIC_APPLICATION
from app.scim.attribute import Attribute, ResourceType, Schema
from app.scim.shapes import GROUPS, link, password, plural, primary, purpose, structure, text
from app.scim.validity import VALIDITY

__all__ = ["ENTERPRISE", "GROUP", "RESOURCE_TYPES", "USER", "Attribute", "ResourceType", "Schema"]

USER_URN = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP_URN = "urn:ietf:params:scim:schemas:core:2.0:Group"
ENTERPRISE_URN = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"

# SCIM 1.1 and the drafts of 2.0 named the core schemas so; OneLogin's templates still do.
OLD_CORE = ("urn:scim:schemas:core:1.0", "urn:scim:schemas:core:2.0")
OLD_ENTERPRISE = (
    "urn:scim:schemas:extension:enterprise:1.0",
    "urn:scim:schemas:extension:enterprise:2.0",
)

NAME = structure(
    "name",
    "The parts of the user's name.",
    text("formatted", "The full name, as it is displayed."),
    text("familyName", "The family name, or last name."),
    text("givenName", "The given name, or first name."),
    text("middleName", "The middle names."),
    text("honorificPrefix", "The title before the name, such as `Dr.`"),
    text("honorificSuffix", "The suffix after the name, such as `III`"),
)

ADDRESSES = Attribute(
    name="addresses",
    type="complex",
    multi_valued=True,
    description="The user's postal addresses.",
    sub_attributes=(
        text("formatted", "The full address, as it is displayed."),
        text("streetAddress", "Street, house number, apartment."),
        text("locality", "City or locality."),
        text("region", "State or region."),
        text("postalCode", "The postal code."),
        text("country", "The country, by its ISO 3166-1 alpha-2 code."),
        purpose("the address", "work", "home", "other"),
        # Not in the schema of RFC 7643 §8.7.1, but in its examples (§8.2) and in what clients send.
        primary("the address"),
    ),
)

USER_SCHEMA = Schema(
    id=USER_URN,
    name="User",
    description="User Account",
    aliases=OLD_CORE,
    attributes=(
        Attribute(
            name="userName",
            required=True,
            uniqueness="server",
            description="The name by which the user is known to the service provider.",
            indexed=True,
        ),
        NAME,
        text("displayName", "The name of the user for people to read."),
        text("nickName", "What the user is called casually."),
        link("profileUrl", "The URL of the user's profile.", "external"),
        text("title", "The user's title, such as `Vice President`."),
        text("userType", "What the user is to the organisation, such as `Contractor`."),
        text("preferredLanguage", "The user's preferred languages, as in Accept-Language."),
        text("locale", "The user's locale, for currency, dates and numbers."),
        text("timezone", "The user's time zone, by its IANA name."),
        Attribute(name="active", type="boolean", description="Whether the user has access."),
        password("user"),
        # PingOne looks users up by `email`.
        plural("emails", "the address", "work", "home", "other", aliases=("email",)),
        plural("phoneNumbers", "the number", "work", "home", "mobile", "fax", "pager", "other"),
        plural("ims", "the address", "aim", "gtalk", "icq", "xmpp", "msn", "skype", "qq", "yahoo"),
        plural("photos", "the photo", "photo", "thumbnail", value="reference"),
        ADDRESSES,
        GROUPS,
        plural("entitlements", "the entitlement"),
        plural("roles", "the role"),
        plural("x509Certificates", "the certificate", value="binary"),
    ),
)

ENTERPRISE = Schema(
    id=ENTERPRISE_URN,
    name="EnterpriseUser",
    description="Enterprise User",
    aliases=OLD_ENTERPRISE,
    attributes=(
        text("employeeNumber", "The number that the organisation gave the user."),
        text("costCenter", "The name of a cost centre."),
        text("organization", "The name of an organisation."),
        text("division", "The name of a division."),
        text("department", "The name of a department."),
        structure(
            "manager",
            "The user's manager.",
            Attribute(
                name="value",
                case_exact=True,
                description="The id of the manager's resource.",
                aliases=("managerId",),  # SCIM 1.1, and OneLogin's templates
            ),
            link("$ref", "The URI of the manager's resource.", "User"),
            Attribute(
                name="displayName",
                mutability="readOnly",
                description="The displayName of the manager.",
            ),
        ),
    ),
)

GROUP_SCHEMA = Schema(
    id=GROUP_URN,
    name="Group",
    description="Group",
    aliases=OLD_CORE,
    attributes=(
        Attribute(
            name="displayName",
            required=True,
            uniqueness="server",
            description="The name of the group for people to read.",
            indexed=True,
        ),
        Attribute(
            name="members",
            type="complex",
            multi_valued=True,
            description="The users, groups and agents that are in the group.",
            separate=True,
            sub_attributes=(
                Attribute(
                    name="value",
                    case_exact=True,
                    mutability="immutable",
                    description="The id of the member.",
                ),
                link(
                    "$ref",
                    "The URI of the member.",
                    "User",
                    "Group",
                    "Agent",
                    mutability="immutable",
                ),
                Attribute(
                    name="type",
                    mutability="immutable",
                    description="The resource type of the member.",
                    canonical_values=("User", "Group", "Agent"),
                ),
                Attribute(
                    name="display",
                    mutability="readOnly",
                    description="The displayName of the member.",
                ),
            ),
        ),
    ),
)

USER = ResourceType(
    name="User",
    endpoint="/Users",
    description="User Account",
    schema=USER_SCHEMA,
    extensions=(ENTERPRISE, VALIDITY),
)

GROUP = ResourceType(name="Group", endpoint="/Groups", description="Group", schema=GROUP_SCHEMA)

RESOURCE_TYPES: Mapping[str, ResourceType] = MappingProxyType(
    {
        resource_type.name: resource_type
        for resource_type in (USER, GROUP, AGENT, AGENTIC_APPLICATION)
    }
)
