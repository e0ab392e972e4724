"""The names of a tenant's keys in Redis: made here and nowhere else.

All keys of tenant `t` start with `scim:{t}:`. The braces are Redis Cluster's hash tag: they put the
whole tenant into one slot, so that one Lua call can change all of it at once (promise 2).

    seq                     counter: the last event's number
    events                  stream: the event log; entry `seq-0` is event `seq`
    facts                   stream: what the ledger gets besides events (`facts.py`)
    told                    hash: `TARGET/USER` -> digest of the access that the ledger was told of
    rebuilding              string: there while the directory is filled again out of the ledger
    moving, moved           string: which copy of a tenant counts that is on its way (`moving.py`)
    dirty                   hash: target -> ms since when the lane has something to do
    KIND:ID                 string: a header line (see `record.py`) and the SCIM document
    KINDs                   zset: id by the seq of its creation, the order of lists
    KINDs:NAME              hash: folded name -> id, unique (`users:userName`, see `KINDS`)
    KINDs:externalId        zset: `value NUL id`, ordered by bytes
    members:GROUP           zset: member id by the seq that added it; until `settle`, one before
    memberof:MEMBER         set: group ids; of a group in `unsettled`, `members` alone decides
    pending                 zset: `group NUL member` by ms since when the member is no resource;
                            of a group in `unsettled`, `members` alone decides
    unsettled               hash: group id -> a large change of its members that is under way or not
                            cleaned up yet (lua/_log.lua, `stage_of`)
    staged:GROUP            zset: what members:GROUP is to become
    left:GROUP              zset: what members:GROUP was, until it is cleaned up
    unanswered              hash: digest of a request -> id of what it created and when (ms)
    secrets                 hash: resource id -> what its password was turned into
    activity                hash: since and until when the provider was heard of, what it failed in
    silences                hash: day -> the longest silence of the provider that ended then (ms)
    cursors                 string: the key that this tenant's paging cursors are signed with
    links                   hash: role-map key -> group id (a renamed group stays linked)
    likes                   hash: groups that give something for their names, by the first such
                            one: `name:FOLDED` -> group id, `id:GROUP` -> `folded NUL displayName`
    tokens                  hash: token id -> JSON with the secret's hash
    uses                    hash: token id -> ms since 1970 when it was last used
    holds                   hash: folded name -> whom an operator keeps out of all targets
    lane:TARGET             hash: cursor and state of the lane
    lease:TARGET            string with expiry: the epoch that holds the lane
    epoch:TARGET            counter of epochs
    todo:TARGET             zset: user ids to look at again, by the number of the asking
    express:TARGET          zset: ids that lose access by an event that is not applied, by its seq
    suspects:TARGET         zset: user ids to look at again later, by when (ms)
    ends:TARGET             zset: user ids by the end of their validity (ms)
    names:TARGET            hash: user id -> ClickHouse name as last applied
    holders:TARGET          hash: the same the other way round
    intents:TARGET          hash: ClickHouse name that is about to appear -> user id
    secrets:TARGET          hash: user id -> digest of the password's hash as last applied
    roles:TARGET            hash: role -> definition as last applied, "" if about to be created
    vocabulary:TARGET       set: every role that the role map could ever give on this target
    letters:TARGET          hash: resource id -> dead letter
    purges:TARGET           hash: id of a deleted resource -> when its user is dropped (ms)
    leavers:TARGET          hash: ClickHouse name -> who left and is yet to be seen out
    consents:TARGET         hash: ClickHouse name -> "yes": adopt it, "no": never, and give it back
    adopted:TARGET          hash: ClickHouse name -> what the user was before it was adopted
    servers:TARGET          hash: `host:port` of a server that was found in the target's cluster ->
                            ms when it was there last; TARGET as the file calls it
    drift:TARGET            hash: a difference that was only reported -> ms since when it is there
    held:TARGET             hash: resource id -> loss that waits for an operator to confirm it
    allowed:TARGET          set: resource ids whose loss was confirmed
    run:TARGET              string with expiry: what was taken lately, for the brake

The ledger's lane is one like the others, under the name `+ledger`, which no target can have: its
`lane:+ledger` has the cursor in the event log, beside what `workers/ledger/writer.py` keeps there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

Kind = Literal["user", "group", "agent", "application"]

LEDGER = "+ledger"


@dataclass(frozen=True, slots=True)
class KindOfResource:
    """`type`: its ResourceType's name. `name`: the attribute that is unique, compared folded."""

    type: str
    name: str


# The kinds that a directory can hold: everything that differs between them in Redis. Members of
# groups are of any kind. The scripts know the same ones (`orders` in lua/_log.lua).
KINDS: Mapping[Kind, KindOfResource] = MappingProxyType(
    {
        "user": KindOfResource("User", "userName"),
        "group": KindOfResource("Group", "displayName"),
        "agent": KindOfResource("Agent", "name"),
        "application": KindOfResource("AgenticApplication", "name"),
    }
)


@dataclass(frozen=True, slots=True)
class Keys:
    """`tenant` has passed the configuration's check `[a-z0-9][a-z0-9-]{0,62}`."""

    tenant: str
    prefix: str = field(init=False, repr=False)
    seq: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        prefix = f"scim:{{{self.tenant}}}:"
        object.__setattr__(self, "prefix", prefix)
        object.__setattr__(self, "seq", f"{prefix}seq")

    @property
    def events(self) -> str:
        return f"{self.prefix}events"

    @property
    def facts(self) -> str:
        return f"{self.prefix}facts"

    @property
    def told(self) -> str:
        return f"{self.prefix}told"

    @property
    def rebuilding(self) -> str:
        return f"{self.prefix}rebuilding"

    @property
    def moving(self) -> str:
        return f"{self.prefix}moving"

    @property
    def moved(self) -> str:
        return f"{self.prefix}moved"

    @property
    def dirty(self) -> str:
        return f"{self.prefix}dirty"

    @property
    def links(self) -> str:
        return f"{self.prefix}links"

    @property
    def likes(self) -> str:
        return f"{self.prefix}likes"

    @property
    def tokens(self) -> str:
        return f"{self.prefix}tokens"

    @property
    def uses(self) -> str:
        return f"{self.prefix}uses"

    @property
    def pending(self) -> str:
        return f"{self.prefix}pending"

    @property
    def unsettled(self) -> str:
        return f"{self.prefix}unsettled"

    @property
    def unanswered(self) -> str:
        return f"{self.prefix}unanswered"

    @property
    def secrets(self) -> str:
        return f"{self.prefix}secrets"

    @property
    def holds(self) -> str:
        return f"{self.prefix}holds"

    @property
    def activity(self) -> str:
        return f"{self.prefix}activity"

    @property
    def silences(self) -> str:
        return f"{self.prefix}silences"

    @property
    def cursors(self) -> str:
        return f"{self.prefix}cursors"

    def resource(self, kind: Kind, resource_id: str) -> str:
        return f"{self.prefix}{kind}:{resource_id}"

    def order(self, kind: Kind) -> str:
        return f"{self.prefix}{kind}s"

    def names(self, kind: Kind) -> str:
        return f"{self.prefix}{kind}s:{KINDS[kind].name}"

    def external_ids(self, kind: Kind) -> str:
        return f"{self.prefix}{kind}s:externalId"

    def members(self, group_id: str) -> str:
        return f"{self.prefix}members:{group_id}"

    def member_of(self, member_id: str) -> str:
        return f"{self.prefix}memberof:{member_id}"

    def lane(self, part: LanePart, target: str) -> str:
        return f"{self.prefix}{part}:{target}"


LanePart = Literal[
    "lane",
    "lease",
    "epoch",
    "todo",
    "express",
    "suspects",
    "ends",
    "names",
    "holders",
    "intents",
    "secrets",
    "roles",
    "vocabulary",
    "letters",
    "consents",
    "adopted",
    "drift",
    "servers",
    "leavers",
    "purges",
    "held",
    "allowed",
    "run",
]
