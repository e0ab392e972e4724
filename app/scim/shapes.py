"""Forms that attributes of several schemas have in common (RFC 7643 §2.3 and §2.4)."""

from __future__ import annotations

from app.scim.attribute import Attribute, Mutability, Type


def text(name: str, description: str) -> Attribute:
    return Attribute(name=name, description=description)


def structure(name: str, description: str, *sub_attributes: Attribute) -> Attribute:
    return Attribute(
        name=name, type="complex", description=description, sub_attributes=sub_attributes
    )


def link(
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


def password(of: str) -> Attribute:
    return Attribute(
        name="password",
        case_exact=True,
        mutability="writeOnly",
        returned="never",
        description=f"The {of}'s password in clear text; never stored or returned.",
    )


def purpose(of: str, *values: str) -> Attribute:
    return Attribute(name="type", description=f"What {of} is for.", canonical_values=values)


def primary(of: str) -> Attribute:
    return Attribute(
        name="primary", type="boolean", description=f"Whether {of} is the preferred one."
    )


def plural(
    name: str,
    of: str,
    *types: str,
    value: Type = "string",
    aliases: tuple[str, ...] = (),
    whose: str = "user",
) -> Attribute:
    """Return a multi-valued attribute with the default sub-attributes of RFC 7643 §2.4."""
    exact = value in {"reference", "binary"}
    return Attribute(
        name=name,
        type="complex",
        multi_valued=True,
        description=f"The {whose}'s {name}.",
        aliases=aliases,
        sub_attributes=(
            Attribute(
                name="value",
                type=value,
                case_exact=exact,
                reference_types=("external",) if value == "reference" else (),
                description=f"The value of {of}.",
            ),
            text("display", f"A name of {of} for people to read."),
            purpose(of, *types),
            primary(of),
        ),
    )


def references(
    name: str, description: str, of: str, *types: str, parts: tuple[Attribute, ...] = ()
) -> Attribute:
    """Return a multi-valued attribute whose values name other resources of these types."""
    return Attribute(
        name=name,
        type="complex",
        multi_valued=True,
        description=description,
        sub_attributes=(*reference_parts(of, *types), *parts),
    )


def reference_parts(of: str, *types: str) -> tuple[Attribute, ...]:
    return (
        Attribute(name="value", case_exact=True, description=f"The id of {of}."),
        link("$ref", f"The URI of {of}.", *types),
        text("display", f"A name of {of} for people to read."),
    )


GROUPS = Attribute(
    name="groups",
    type="complex",
    multi_valued=True,
    mutability="readOnly",
    description="The groups that the resource is in; changed through the groups.",
    sub_attributes=(
        Attribute(
            name="value", case_exact=True, mutability="readOnly", description="The group's id."
        ),
        link("$ref", "The group's URI.", "User", "Group", mutability="readOnly"),
        Attribute(name="display", mutability="readOnly", description="The group's displayName."),
        Attribute(
            name="type",
            mutability="readOnly",
            description="Whether it is in the group itself or in one that the group holds.",
            canonical_values=("direct", "indirect"),
        ),
    ),
)
