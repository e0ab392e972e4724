"""Machine identities: the resource types Agent and AgenticApplication, as data.

Two individual Internet-Drafts describe agents under one URN: draft-abbey-scim-agent-extension-00,
which has the tables that are followed here, and draft-wzdk-scim-agent-resource-00, which calls the
unique name `agentUserName` and has fewer attributes. Where the first contradicts itself (`subject`,
`owners`, `protocols`, `parent`, `applications` are what clients provision in its text, read-only in
its tables), they can be written: only the identity provider knows them.
"""

from __future__ import annotations

from app.scim.attribute import Attribute, ResourceType, Schema
from app.scim.shapes import (
    GROUPS,
    password,
    plural,
    primary,
    purpose,
    reference_parts,
    references,
    structure,
    text,
)
from app.scim.validity import VALIDITY

AGENT_URN = "urn:ietf:params:scim:schemas:core:2.0:Agent"
AGENTIC_APPLICATION_URN = "urn:ietf:params:scim:schemas:core:2.0:AgenticApplication"


def _name(of: str, *aliases: str) -> Attribute:
    return Attribute(
        name="name",
        required=True,
        uniqueness="server",
        description=f"The name by which the {of} is known to the service provider.",
        indexed=True,
        aliases=aliases,
    )


AGENT_SCHEMA = Schema(
    id=AGENT_URN,
    name="Agent",
    description="AI agent",
    attributes=(
        _name("agent", "agentUserName"),
        text("displayName", "The name of the agent for people to read."),
        text("agentType", "What kind of agent it is, such as `Assistant`."),
        Attribute(name="active", type="boolean", description="Whether the agent has access."),
        text("description", "What the agent is for."),
        Attribute(
            name="subject",
            case_exact=True,
            description="The `sub` of the agent in tokens of the OpenID provider.",
        ),
        password("agent"),  # in no draft; where log-ins are passwords an agent has one as well
        GROUPS,
        plural("entitlements", "the entitlement", whose="agent"),
        plural("roles", "the role", whose="agent"),
        plural("x509Certificates", "the certificate", value="binary", whose="agent"),
        references(
            "applications",
            "The applications that the agent shares a trust boundary with.",
            "the application",
            "AgenticApplication",
        ),
        references(
            "owners", "Who answers for the agent: users or groups.", "the owner", "User", "Group"
        ),
        Attribute(
            name="protocols",
            type="complex",
            multi_valued=True,
            description="The protocols by which the agent can be talked to.",
            sub_attributes=(
                purpose("the protocol", "A2A", "OpenAPI", "MCP-Server"),
                Attribute(
                    name="specificationUrl",
                    type="reference",
                    case_exact=True,
                    reference_types=("external",),
                    description="Where the agent describes itself for this protocol.",
                    aliases=("specifiationUrl",),  # as the draft's own table has it
                ),
            ),
        ),
        structure("parent", "The agent that this one belongs to.", *reference_parts("it", "Agent")),
    ),
)

AGENTIC_APPLICATION_SCHEMA = Schema(
    id=AGENTIC_APPLICATION_URN,
    name="AgenticApplication",
    description="Application that hosts agents or gives access to them",
    attributes=(
        _name("application"),
        text("displayName", "The name of the application for people to read."),
        text("description", "What the application is for."),
        Attribute(name="active", type="boolean", description="Whether the application is in use."),
        Attribute(
            name="applicationUrls",
            type="complex",
            multi_valued=True,
            description="Where the application is reached.",
            sub_attributes=(
                purpose("the URL", "ssoEndpoint", "loginPage", "api", "homepage"),
                primary("the URL"),
                Attribute(name="value", case_exact=True, description="The URL."),
                text("description", "What the URL leads to."),
            ),
        ),
        Attribute(
            name="lastAccessed",
            type="dateTime",
            mutability="readOnly",
            description="When the application was last used; this service can't know it.",
        ),
        Attribute(
            name="oAuthConfiguration",
            type="complex",
            multi_valued=True,
            description="The application's OAuth clients.",
            sub_attributes=(
                Attribute(name="clientId", case_exact=True, description="The client identifier."),
                text("description", "What the client is for."),
                Attribute(
                    name="audienceUri", case_exact=True, description="The `aud` of its tokens."
                ),
                Attribute(
                    name="issuerUri", case_exact=True, description="The `iss` of its tokens."
                ),
                Attribute(
                    name="redirectUri",
                    type="reference",
                    multi_valued=True,
                    case_exact=True,
                    reference_types=("uri",),
                    description="Where the client may be redirected to.",
                ),
            ),
        ),
        references(
            "agents",
            "The agents that belong to the application.",
            "the agent",
            "Agent",
            parts=(purpose("the relationship", "owned", "authorized", "guest"),),
        ),
        Attribute(
            name="externalIdentifiers",
            type="complex",
            multi_valued=True,
            description="What other systems call the application.",
            sub_attributes=(
                purpose("the identifier"),
                Attribute(name="value", case_exact=True, description="The identifier."),
                text("system", "Where the identifier is known."),
            ),
        ),
    ),
)

AGENT = ResourceType(
    name="Agent",
    endpoint="/Agents",
    description="Agent identities",
    schema=AGENT_SCHEMA,
    extensions=(VALIDITY,),
)

AGENTIC_APPLICATION = ResourceType(
    name="AgenticApplication",
    endpoint="/AgenticApplications",
    description="Applications that host or provide access to agents",
    schema=AGENTIC_APPLICATION_SCHEMA,
)
