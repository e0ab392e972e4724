"""Where a request came from, behind proxies or not; pure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from app.config.network import Network

_AGENT = 200


def client_address(peer: str | None, forwarded: Sequence[str], proxies: Sequence[Network]) -> str:
    """Return the address of the client, "" if nothing tells it.

    `peer`: who opened the connection. `forwarded`: the values of X-Forwarded-For, in order. What
    stands there counts only as far as proxies of ours wrote it: read from the right, the first
    address that is no proxy is the client's; what is left of it the client may have made up.
    """
    address, text = _address_of(peer or "")
    if address is None or not forwarded:
        return text
    hops = [hop.strip() for value in forwarded for hop in value.split(",")]
    while hops and is_in(address, proxies):
        before = parse_address(hops.pop())
        if before is None:
            break
        address = before
    return str(address)


def is_proxy(peer: str | None, proxies: Sequence[Network]) -> bool:
    """Whether who opened the connection is a proxy of ours."""
    if not proxies:
        return False
    address, _ = _address_of(peer or "")
    return address is not None and is_in(address, proxies)


# Peers are few, and call thousands of times; what headers name is anybody's, and not kept.
@lru_cache(maxsize=4096)
def _address_of(peer: str) -> tuple[IPv4Address | IPv6Address | None, str]:
    """Return the address, and how it is written: "" for none."""
    address = parse_address(peer)
    return address, "" if address is None else str(address)


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Return the address that `text` is; an IPv4 address inside an IPv6 one as IPv4."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def is_in(address: IPv4Address | IPv6Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def user_agent(header: str | None) -> str:
    """Return what the client calls itself, as one line of text."""
    if header is None or header.isprintable():
        return (header or "")[:_AGENT]
    return "".join(char for char in header if char.isprintable())[:_AGENT]
