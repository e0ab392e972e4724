"""One number for all that a target holds of each tenant, to see cheaply that nothing changed."""

from __future__ import annotations

from collections.abc import Collection

from workers.access.statements.quoting import literals

_HOLDER = "coalesce(concat('user ', user_name), concat('role ', role_name), '')"


def fingerprints_query(markers: Collection[str]) -> str:
    """Return a query for (marker, text): a text that differs where a user or role with this marker
    does: how it may log in, what it holds, its settings, row policies and quotas. No row: nobody
    has the marker. A password that was replaced does not show, as nowhere on a target.

    It reads the access storage once for however many markers: of one or of a thousand tenants it
    costs about the same.
    """
    return f"""\
WITH held AS (SELECT granted_role_name AS marker, {_HOLDER} AS holder
    FROM system.role_grants WHERE granted_role_name IN ({literals(sorted(markers))}))
SELECT marker, concat(toString(count()), ':', toString(sum(cityHash64(kind, detail)))) FROM (
    SELECT concat('user ', name) AS holder, 'user' AS kind, toJSONString(tuple(name, id, auth_type,
        auth_params, valid_until, host_ip, host_names, host_names_regexp, host_names_like,
        default_roles_all, default_roles_list, default_roles_except, grantees_any, grantees_list,
        grantees_except, default_database)) AS detail
    FROM system.users
    UNION ALL
    SELECT concat('role ', name), 'role', toJSONString(tuple(name, id)) FROM system.roles
    UNION ALL
    SELECT {_HOLDER}, 'role_grant', toJSONString(tuple(user_name, role_name, granted_role_name,
        granted_role_is_default, with_admin_option))
    FROM system.role_grants
    UNION ALL
    SELECT {_HOLDER}, 'grant', toJSONString(tuple(user_name, role_name, access_type, database,
        table, column, is_partial_revoke, grant_option, is_wildcard))
    FROM system.grants
    UNION ALL
    SELECT {_HOLDER}, 'setting', toJSONString(tuple(user_name, role_name, index, setting_name,
        value, min, max, writability, inherit_profile))
    FROM system.settings_profile_elements
    UNION ALL
    SELECT concat('role ', arrayJoin(apply_to_list)), 'row_policy', toJSONString(tuple(name, id,
        select_filter, is_restrictive, apply_to_all, apply_to_list, apply_to_except))
    FROM system.row_policies
    UNION ALL
    SELECT concat('role ', arrayJoin(apply_to_list)), 'quota', toJSONString(tuple(name, id, keys,
        durations, apply_to_all, apply_to_list, apply_to_except))
    FROM system.quotas
) AS found INNER JOIN held USING (holder) GROUP BY marker"""  # noqa: S608 - markers are quoted
