"""The schemas that this service knows, as data: User, the enterprise extension, and Group."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from app.scim.attribute import Attribute, Mutability, ResourceType, Schema, Type

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


def _text(name: str, description: str) -> Attribute:
    return Attribute(name=name, description=description)


def _complex(name: str, description: str, *sub_attributes: Attribute) -> Attribute:
    return Attribute(
        name=name, type="complex", description=description, sub_attributes=sub_attributes
    )


def _link(
    name: str, description: str, *types: str, mutability: Mutability = "readWrite"
) -> Attribute:
    """Return an attribute that holds a URI; URIs are compared exactly (RFC 7643 §2.3.7)."""
    return Attribute(
        name=name,
        type="reference",
        case_exact=True,
        mutability=mutability,
        reference_types=types,
        description=description,
    )


def _type(of: str, *values: str) -> Attribute:
    return Attribute(name="type", description=f"What {of} is for.", canonical_values=values)


def _primary(of: str) -> Attribute:
    return Attribute(
        name="primary", type="boolean", description=f"Whether {of} is the preferred one."
    )


def _plural(
    name: str,
    of: str,
    *types: str,
    value: Type = "string",
    aliases: tuple[str, ...] = (),
) -> Attribute:
    """Return a multi-valued attribute with the default sub-attributes of RFC 7643 §2.4."""
    exact = value in {"reference", "binary"}
    return Attribute(
        name=name,
        type="complex",
        multi_valued=True,
        description=f"The user's {name}.",
        aliases=aliases,
        sub_attributes=(
            Attribute(
                name="value",
                type=value,
                case_exact=exact,
                reference_types=("external",) if value == "reference" else (),
                description=f"The value of {of}.",
            ),
            _text("display", f"A name of {of} for people to read."),
            _type(of, *types),
            _primary(of),
        ),
    )


NAME = _complex(
    "name",
    "The parts of the user's name.",
    _text("formatted", "The full name, as it is displayed."),
    _text("familyName", "The family name, or last name."),
    _text("givenName", "The given name, or first name."),
    _text("middleName", "The middle names."),
    _text("honorificPrefix", "The title before the name, such as `Dr.`"),
    _text("honorificSuffix", "The suffix after the name, such as `III`"),
)

ADDRESSES = Attribute(
    name="addresses",
    type="complex",
    multi_valued=True,
    description="The user's postal addresses.",
    sub_attributes=(
        _text("formatted", "The full address, as it is displayed."),
        _text("streetAddress", "Street, house number, apartment."),
        _text("locality", "City or locality."),
        _text("region", "State or region."),
        _text("postalCode", "The postal code."),
        _text("country", "The country, by its ISO 3166-1 alpha-2 code."),
        _type("the address", "work", "home", "other"),
        # Not in the schema of RFC 7643 §8.7.1, but in its examples (§8.2) and in what clients send.
        _primary("the address"),
    ),
)

GROUPS = Attribute(
    name="groups",
    type="complex",
    multi_valued=True,
    mutability="readOnly",
    description="The groups that the user is in; changed through the groups.",
    sub_attributes=(
        Attribute(
            name="value", case_exact=True, mutability="readOnly", description="The group's id."
        ),
        _link("$ref", "The group's URI.", "User", "Group", mutability="readOnly"),
        Attribute(name="display", mutability="readOnly", description="The group's displayName."),
        Attribute(
            name="type",
            mutability="readOnly",
            description="Whether the user is in the group itself or in one that it holds.",
            canonical_values=("direct", "indirect"),
        ),
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
        _text("displayName", "The name of the user for people to read."),
        _text("nickName", "What the user is called casually."),
        _link("profileUrl", "The URL of the user's profile.", "external"),
        _text("title", "The user's title, such as `Vice President`."),
        _text("userType", "What the user is to the organisation, such as `Contractor`."),
        _text("preferredLanguage", "The user's preferred languages, as in Accept-Language."),
        _text("locale", "The user's locale, for currency, dates and numbers."),
        _text("timezone", "The user's time zone, by its IANA name."),
        Attribute(name="active", type="boolean", description="Whether the user has access."),
        Attribute(
            name="password",
            case_exact=True,
            mutability="writeOnly",
            returned="never",
            description="The user's password in clear text; never stored or returned.",
        ),
        # PingOne looks users up by `email`.
        _plural("emails", "the address", "work", "home", "other", aliases=("email",)),
        _plural("phoneNumbers", "the number", "work", "home", "mobile", "fax", "pager", "other"),
        _plural("ims", "the address", "aim", "gtalk", "icq", "xmpp", "msn", "skype", "qq", "yahoo"),
        _plural("photos", "the photo", "photo", "thumbnail", value="reference"),
        ADDRESSES,
        GROUPS,
        _plural("entitlements", "the entitlement"),
        _plural("roles", "the role"),
        _plural("x509Certificates", "the certificate", value="binary"),
    ),
)

ENTERPRISE = Schema(
    id=ENTERPRISE_URN,
    name="EnterpriseUser",
    description="Enterprise User",
    aliases=OLD_ENTERPRISE,
    attributes=(
        _text("employeeNumber", "The number that the organisation gave the user."),
        _text("costCenter", "The name of a cost centre."),
        _text("organization", "The name of an organisation."),
        _text("division", "The name of a division."),
        _text("department", "The name of a department."),
        _complex(
            "manager",
            "The user's manager.",
            Attribute(
                name="value",
                case_exact=True,
                description="The id of the manager's resource.",
                aliases=("managerId",),  # SCIM 1.1, and OneLogin's templates
            ),
            _link("$ref", "The URI of the manager's resource.", "User"),
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
            description="The users and groups that are in the group.",
            separate=True,
            sub_attributes=(
                Attribute(
                    name="value",
                    case_exact=True,
                    mutability="immutable",
                    description="The id of the member.",
                ),
                _link("$ref", "The URI of the member.", "User", "Group", mutability="immutable"),
                Attribute(
                    name="type",
                    mutability="immutable",
                    description="The resource type of the member.",
                    canonical_values=("User", "Group"),
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
    extensions=(ENTERPRISE,),
)

GROUP = ResourceType(name="Group", endpoint="/Groups", description="Group", schema=GROUP_SCHEMA)

RESOURCE_TYPES: Mapping[str, ResourceType] = MappingProxyType(
    {resource_type.name: resource_type for resource_type in (USER, GROUP)}
)
