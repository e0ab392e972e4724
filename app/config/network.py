"""Networks: ranges of addresses, as in "10.0.0.0/8"."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network

Network = IPv4Network | IPv6Network


def parse_network(text: object) -> Network:
    """Return the network that `text` names; a single address is one of its own."""
    if isinstance(text, IPv4Network | IPv6Network):
        return text
    if not isinstance(text, str):
        raise ValueError('must be text, as in "10.0.0.0/8"')  # noqa: TRY004 - for pydantic
    try:
        return ip_network(text)
    except ValueError:
        raise ValueError('is no network; write it as "10.0.0.0/8" or "2001:db8::/32"') from None


def parse_place(text: object) -> Network:
    """Return the network that a user may log in from; one that holds every address is refused."""
    network = parse_network(text)
    if network.prefixlen == 0:
        raise ValueError("is every address; leave networks out, if users may come from anywhere")
    return network


def as_host(network: Network) -> str:
    """Return `network` as `system.users` and `HOST IP` write it."""
    address = network.network_address
    if network.prefixlen < network.max_prefixlen:
        return str(network)
    return (
        "localhost"
        if address.is_loopback and str(address) in {"127.0.0.1", "::1"}
        else str(address)
    )
