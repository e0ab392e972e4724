"""The questions of an audit, each a view that takes its parameters: `SELECT … FROM view(a = …)`.

All of them read with FINAL, so they are right before merges.
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# What every user of every target of a tenant was seen to hold at a time: of each the last row.
ACCESS_AT = r"""
SELECT target, user, resource AS resource_id, state AS last_state, roles AS last_roles,
    explained AS last_explained, at AS since
FROM access
WHERE tenant = {tenant:String} AND (holder, at) IN
(
    SELECT holder, max(at) FROM access
    WHERE tenant = {tenant:String} AND at <= {at:DateTime64(3, 'UTC')}
    GROUP BY holder
)
LIMIT 1 BY holder
"""

# Who held which role at a time.
HOLDERS_AT = f"""
SELECT
    target, user, resource_id, role, since, has(last_explained, role) AS is_explained
FROM ({ACCESS_AT})
ARRAY JOIN last_roles AS role
WHERE last_state = 'active'
"""

# Roles that somebody held at a time though nothing in the directory gives them.
UNEXPLAINED_AT = f"SELECT * FROM ({HOLDERS_AT}) WHERE NOT is_explained"

# The resource ids of a person, who is named by an id, a userName or a ClickHouse name. Each part
# has an index of its own.
IDS = r"""(
    SELECT groupUniqArray(id) FROM
    (
        SELECT resource_id AS id FROM events
        WHERE tenant = {tenant:String} AND resource_id = {person:String}
        UNION ALL
        SELECT resource_id FROM events
        WHERE tenant = {tenant:String} AND lowerUTF8(name) = lowerUTF8({person:String})
            AND type != 'group'
        UNION ALL
        SELECT resource FROM access
        WHERE tenant = {tenant:String} AND user = {person:String} AND resource != ''
    )
)"""

# Everything about a person.
PERSON = rf"""
WITH {IDS} AS ids
SELECT
    at, 'event' AS what, '' AS target, seq, concat(type, ' ', op) AS action, name AS subject,
    request_id AS request, token_id AS token, '' AS detail
FROM events FINAL
WHERE tenant = {{tenant:String}} AND has(ids, resource_id)
UNION ALL
SELECT at, 'event', '', seq, 'member added', name, request_id, token_id, ''
FROM events FINAL
WHERE tenant = {{tenant:String}} AND hasAny(added, ids)
UNION ALL
SELECT at, 'event', '', seq, 'member removed', name, request_id, token_id, ''
FROM events FINAL
WHERE tenant = {{tenant:String}} AND hasAny(removed, ids)
UNION ALL
SELECT
    at, 'statement', target, arrayMax(arrayConcat(seqs, [0])), concat(action, ' ', result),
    arrayStringConcat(arraySlice(users, 1, 3), ', '),
    arrayStringConcat(arraySlice(requests, 1, 3), ', '), '', text
FROM statements FINAL
WHERE tenant = {{tenant:String}} AND hasAny(resources, ids) AND result != 'unsent'
UNION ALL
SELECT
    at, 'access', target, seq, toString(state), user, '', '', arrayStringConcat(roles, ', ')
FROM access FINAL
WHERE tenant = {{tenant:String}} AND has(ids, resource)
UNION ALL
SELECT
    at, 'dead letter', target, seq_last, toString(change), name, '', '', error
FROM dead_letters FINAL
WHERE tenant = {{tenant:String}} AND has(ids, resource)
"""

# Every change that was asked for with a token.
BY_TOKEN = r"""
SELECT at, seq, op, type, resource_id, name, length(added) AS members_added,
    length(removed) AS members_removed, request_id, ip, agent
FROM events FINAL
WHERE tenant = {tenant:String} AND token_id = {token:String}
"""

# How long it took until access was gone, for each leaver and target; NULL: it is still there.
LEAVERS = r"""
SELECT
    resource_id, name, target, user, left_at, gone_at,
    if(gone_at IS NULL, NULL, greatest(0, dateDiff('millisecond', left_at, gone_at)) / 1000)
        AS seconds
FROM
(
    SELECT
        e.resource_id AS resource_id, any(e.name) AS name, a.target AS target, a.user AS user,
        e.at AS left_at,
        minOrNullIf(a.at, a.at >= e.at AND a.state != 'active') AS gone_at,
        argMaxIf(a.state, (a.at, a.seq, a.id), a.at < e.at) AS state_before
    FROM
    (
        SELECT resource_id, name, at FROM events FINAL
        WHERE tenant = {tenant:String} AND left
            AND at >= {from:DateTime64(3, 'UTC')} AND at < {to:DateTime64(3, 'UTC')}
    ) AS e
    INNER JOIN
    (
        SELECT resource, target, user, state, at, seq, id FROM access FINAL
        WHERE tenant = {tenant:String} AND resource IN
        (
            SELECT resource_id FROM events
            WHERE tenant = {tenant:String} AND left
                AND at >= {from:DateTime64(3, 'UTC')} AND at < {to:DateTime64(3, 'UTC')}
        )
    ) AS a ON a.resource = e.resource_id
    GROUP BY e.resource_id, e.at, a.target, a.user
)
WHERE state_before = 'active' OR gone_at IS NULL
"""

VIEWS = {
    "access_at": ACCESS_AT,
    "holders_at": HOLDERS_AT,
    "unexplained_at": UNEXPLAINED_AT,
    "person": PERSON,
    "by_token": BY_TOKEN,
    "leavers": LEAVERS,
}


def upgrade() -> None:
    for name, query in VIEWS.items():
        op.execute(f"CREATE OR REPLACE VIEW {name} AS {query.strip()}")


def downgrade() -> None:
    for name in VIEWS:
        op.execute(f"DROP VIEW IF EXISTS {name}")
