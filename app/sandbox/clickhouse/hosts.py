"""From which addresses a user may log in (ClickHouse's AllowedClientHosts.cpp).

Loopback addresses of both families are one address; `localhost` means any address of this machine.
Names are resolved when they are asked for; a name that does not resolve matches nobody.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass

_LOOPBACK = ipaddress.IPv6Address("::1")


@dataclass(frozen=True, slots=True)
class Hosts:
    """The columns host_ip, host_names, host_names_regexp and host_names_like of system.users."""

    ips: Sequence[str] = ()
    names: Sequence[str] = ()
    regexps: Sequence[str] = ()
    likes: Sequence[str] = ()

    def contain(self, address: str) -> bool:
        """Tell whether `address` may come in. May ask DNS, so it may block."""
        client = _plain(address)
        if any(_in_subnet(client, ip) for ip in self.ips):
            return True
        if any(_is_host(client, name) for name in self.names):
            return True
        if not self.regexps and not self.likes:
            return False
        hosts = _hosts_of(client)
        if any(_matches(regexp, hosts) for regexp in self.regexps):
            return True
        return any(_like(client, hosts, pattern) for pattern in self.likes)


def _plain(address: str) -> ipaddress.IPv6Address:
    """Return the address as IPv6; 127.x.y.z, mapped or not, becomes ::1."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv4Address):
        ip = ipaddress.IPv6Address(f"::ffff:{ip}")
    mapped = ip.ipv4_mapped
    return _LOOPBACK if mapped is not None and mapped.is_loopback else ip


def _in_subnet(client: ipaddress.IPv6Address, subnet: str) -> bool:
    network = ipaddress.ip_network(subnet, strict=False)
    first = _plain(str(network.network_address))
    if first == _LOOPBACK:  # any part of 127.0.0.0/8 stands for all addresses of this machine
        return _is_here(client)
    if network.num_addresses == 1:
        return client == first
    if isinstance(network, ipaddress.IPv6Network):
        return client in network
    mapped = client.ipv4_mapped
    return mapped is not None and mapped in network


def _is_host(client: ipaddress.IPv6Address, name: str) -> bool:
    if name.lower() == "localhost":
        return _is_here(client)
    return client in _addresses_of(name)


def _is_here(client: ipaddress.IPv6Address) -> bool:
    """Tell whether the address is one of this machine's: a socket can be bound to it."""
    if client == _LOOPBACK:
        return True
    mapped = client.ipv4_mapped
    family = socket.AF_INET6 if mapped is None else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(client if mapped is None else mapped), 0))
        except OSError:
            return False
    return True


def _addresses_of(name: str) -> set[ipaddress.IPv6Address]:
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError:
        return set()
    return {_plain(str(entry[4][0])) for entry in found}


def _hosts_of(client: ipaddress.IPv6Address) -> list[str]:
    """Return the names that the address resolves to, all of which resolve back, else none."""
    mapped = client.ipv4_mapped
    address = "127.0.0.1" if client == _LOOPBACK else str(client if mapped is None else mapped)
    try:
        name, aliases, _ = socket.gethostbyaddr(address)
    except OSError:
        return []
    names = [name, *aliases]
    return names if all(client in _addresses_of(name) for name in names) else []


def _matches(regexp: str, hosts: Sequence[str]) -> bool:
    try:
        pattern = re.compile(regexp)
    except re.error:
        return False
    return any(pattern.search(host) for host in hosts)


def _like(client: ipaddress.IPv6Address, hosts: Sequence[str], pattern: str) -> bool:
    """A pattern that starts like an address is a subnet, one without wildcards a name."""
    if re.match(r"[0-9]+\.", pattern):
        return _in_wildcards(client, pattern, "0", "255")
    if re.match(r"[0-9A-Fa-f]{4}:|::", pattern):
        return _in_wildcards(client, pattern.replace("_", "%"), "0000", "ffff")
    if "%" not in pattern and "_" not in pattern:
        return _is_host(client, pattern)
    parts = [{"%": ".*", "_": "."}.get(sign, re.escape(sign)) for sign in pattern]
    return any(re.fullmatch("".join(parts), host, re.DOTALL) for host in hosts)


def _in_wildcards(client: ipaddress.IPv6Address, pattern: str, low: str, high: str) -> bool:
    if "/" in pattern:
        return _in_subnet(client, pattern)
    try:
        first = ipaddress.ip_address(pattern.replace("%", low))
        last = ipaddress.ip_address(pattern.replace("%", high))
    except ValueError:
        return False
    fixed = ~(int(first) ^ int(last))
    mapped = client.ipv4_mapped
    shown = client if isinstance(first, ipaddress.IPv6Address) else mapped
    if first.is_loopback:
        return _is_here(client)
    if first == last:
        return client == _plain(str(first))
    return shown is not None and int(shown) & fixed == int(first) & fixed
