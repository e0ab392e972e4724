"""The engine's files: config.xml, what it knows of the server around it, and users.xml.

From the first come `system.clusters`, `system.macros`, `tcpPort()`, and which node of a cluster is
this one. The second is what a server's package brings: the user, profiles and quota that no
statement can change. Its `default` has the rights that it has once access_management is on.
"""

from __future__ import annotations

from xml.sax.saxutils import escape

from app.sandbox.clickhouse.membership import Membership

ADMIN = "default"
# What custom settings begin with: in a server's package, and where ClickHouse tests itself.
CUSTOM_SETTINGS = ("SQL_", "custom_")

USERS = f"""<clickhouse>
<profiles><default/><readonly><readonly>1</readonly></readonly></profiles>
<quotas><default><interval>
  <duration>3600</duration>
  <queries>0</queries>
  <errors>0</errors>
  <result_rows>0</result_rows>
  <read_rows>0</read_rows>
  <execution_time>0</execution_time>
</interval></default></quotas>
<users><{ADMIN}>
  <password></password>
  <networks><ip>::/0</ip></networks>
  <profile>default</profile>
  <quota>default</quota>
  <access_management>1</access_management>
  <named_collection_control>1</named_collection_control>
  <show_named_collections>1</show_named_collections>
  <show_named_collections_secrets>1</show_named_collections_secrets>
</{ADMIN}></users>
</clickhouse>
"""


def render_config(port: int, membership: Membership | None) -> str:
    """Return the file for a server whose native protocol is on `port`."""
    parts = ["<users_config>users.xml</users_config>", f"<tcp_port>{port}</tcp_port>"]
    if membership is not None:
        parts += _of_cluster(membership)
    return f"<clickhouse>{''.join(parts)}</clickhouse>\n"


def _of_cluster(membership: Membership) -> list[str]:
    """All nodes are replicas of one shard, so each has everything."""
    replicas = []
    for node in membership.hosts:
        host, _, port = node.rpartition(":")
        replicas.append(f"<replica><host>{escape(host)}</host><port>{int(port)}</port></replica>")
    name = membership.name  # `join_cluster` lets none in that is no XML name
    replica = escape(membership.host)
    return [
        f"<remote_servers><{name}><shard>{''.join(replicas)}</shard></{name}></remote_servers>",
        f"<macros><cluster>{name}</cluster><shard>1</shard><replica>{replica}</replica></macros>",
    ]
