"""The engine's config.xml: what it knows of the server around it.

From it come `system.clusters`, `system.macros`, `tcpPort()`, and which node of a cluster is this
one.
"""

from __future__ import annotations

from xml.sax.saxutils import escape

from app.sandbox.clickhouse.membership import Membership


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
