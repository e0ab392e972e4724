"""The only place where SQL about access is made, and where names and literals are quoted."""

from workers.access.statements.observing import observe_query, parse_observation
from workers.access.statements.quoting import quote_identifier, quote_literal
from workers.access.statements.rendering import Statement, render, render_privilege
from workers.access.statements.rights import provisioner_grants

__all__ = [
    "Statement",
    "observe_query",
    "parse_observation",
    "provisioner_grants",
    "quote_identifier",
    "quote_literal",
    "render",
    "render_privilege",
]
