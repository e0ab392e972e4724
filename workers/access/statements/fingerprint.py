"""One number for all that a target holds of a tenant, to see cheaply that nothing changed."""

from __future__ import annotations

from workers.access.statements.quoting import quote_literal


def fingerprint_query(marker: str) -> str:
    """Return a query for one text that differs where a managed user or role does: how it may log
    in, what it holds, its settings, row policies and quotas. A password that was replaced does not
    show, as nowhere on a target.
    """
    ours = (
        "user_name IN (SELECT user_name FROM users) OR role_name IN (SELECT role_name FROM roles)"
    )
    return f"""\
WITH
    held AS (SELECT user_name, role_name FROM system.role_grants
        WHERE granted_role_name = {quote_literal(marker)}),
    users AS (SELECT user_name FROM held WHERE isNotNull(user_name)),
    roles AS (SELECT role_name FROM held WHERE isNotNull(role_name))
SELECT concat(toString(count()), ':', toString(sum(cityHash64(kind, detail)))) FROM (
    SELECT 'user' AS kind, toJSONString(tuple(name, id, auth_type, auth_params, valid_until,
        host_ip, host_names, host_names_regexp, host_names_like, default_roles_all,
        default_roles_list, default_roles_except, grantees_any, grantees_list, grantees_except,
        default_database)) AS detail
    FROM system.users WHERE name IN (SELECT user_name FROM users)
    UNION ALL
    SELECT 'role', toJSONString(tuple(name, id))
    FROM system.roles WHERE name IN (SELECT role_name FROM roles)
    UNION ALL
    SELECT 'role_grant', toJSONString(tuple(user_name, role_name, granted_role_name,
        granted_role_is_default, with_admin_option))
    FROM system.role_grants WHERE {ours}
    UNION ALL
    SELECT 'grant', toJSONString(tuple(user_name, role_name, access_type, database, table, column,
        is_partial_revoke, grant_option, is_wildcard))
    FROM system.grants WHERE {ours}
    UNION ALL
    SELECT 'setting', toJSONString(tuple(user_name, role_name, index, setting_name, value, min, max,
        writability, inherit_profile))
    FROM system.settings_profile_elements WHERE {ours}
    UNION ALL
    SELECT 'row_policy', toJSONString(tuple(name, id, select_filter, is_restrictive, apply_to_all,
        apply_to_list, apply_to_except))
    FROM system.row_policies WHERE hasAny(apply_to_list, (SELECT groupArray(role_name) FROM roles))
    UNION ALL
    SELECT 'quota', toJSONString(tuple(name, id, keys, durations, apply_to_all, apply_to_list,
        apply_to_except))
    FROM system.quotas WHERE hasAny(apply_to_list, (SELECT groupArray(role_name) FROM roles))
)"""  # noqa: S608 - the marker is quoted
