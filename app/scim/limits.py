"""How much one request may ask for, as a value: each bound is a setting, and has an answer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on what a request may hold. What exceeds one is refused whole; nothing is cut.

    Lengths are in characters (Unicode code points). `max_name_length` bounds what the directory
    finds resources by (`userName`, a group's `displayName`, `externalId`) and ids of members;
    `max_attribute_length` every other string. `max_values` bounds one multi-valued attribute,
    `max_members` the members that one request names. `max_document_depth` counts nested objects
    and arrays, `max_filter_depth` parentheses, `not` and value paths; `max_filter_length` also
    bounds a PATCH path.
    """

    max_name_length: int = 256
    max_attribute_length: int = 65_536
    max_values: int = 500
    max_members: int = 200_000
    max_document_depth: int = 16
    max_patch_operations: int = 1_000
    max_filter_length: int = 8_192
    max_filter_depth: int = 32


DEFAULT_LIMITS = Limits()
