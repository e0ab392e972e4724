"""The only place where SQL about access is made, and where names and literals are quoted."""

from workers.access.statements.fingerprint import fingerprints_query
from workers.access.statements.observing import (
    census_query,
    managed_query,
    observe_query,
    parse_observation,
)
from workers.access.statements.quoting import masked, quote_identifier, quote_literal
from workers.access.statements.rendering import Statement, render, render_privilege
from workers.access.statements.rights import (
    Right,
    check_query,
    ledger_rights,
    needed_rights,
    provisioner_grants,
)
from workers.access.statements.shaping import shapes_query, with_shapes
from workers.access.statements.showing import (
    cut_grant,
    parse_ends,
    parse_shown,
    show_grants_query,
    show_users_query,
    times_query,
)

__all__ = [
    "Right",
    "Statement",
    "census_query",
    "check_query",
    "cut_grant",
    "fingerprints_query",
    "ledger_rights",
    "managed_query",
    "masked",
    "needed_rights",
    "observe_query",
    "parse_ends",
    "parse_observation",
    "parse_shown",
    "provisioner_grants",
    "quote_identifier",
    "quote_literal",
    "render",
    "render_privilege",
    "shapes_query",
    "show_grants_query",
    "show_users_query",
    "times_query",
    "with_shapes",
]
