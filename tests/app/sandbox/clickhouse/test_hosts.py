"""From where a user may log in."""

from __future__ import annotations

import socket

import pytest

from app.sandbox.clickhouse.hosts import Hosts

ANY = Hosts(ips=("::/0",))
CASES = {
    "any": (ANY, "203.0.113.9", True),
    "none": (Hosts(), "127.0.0.1", False),
    "any, IPv6": (ANY, "2001:db8::1", True),
    "local, IPv4": (Hosts(names=("localhost",)), "127.0.0.1", True),
    "local, any loopback address": (Hosts(names=("LocalHost",)), "127.8.9.10", True),
    "local, IPv6": (Hosts(names=("localhost",)), "::1", True),
    "local, mapped": (Hosts(names=("localhost",)), "::ffff:127.0.0.1", True),
    "local, from elsewhere": (Hosts(names=("localhost",)), "203.0.113.9", False),
    "address": (Hosts(ips=("203.0.113.9",)), "203.0.113.9", True),
    "address, mapped": (Hosts(ips=("203.0.113.9",)), "::ffff:203.0.113.9", True),
    "another address": (Hosts(ips=("203.0.113.9",)), "203.0.113.8", False),
    "subnet": (Hosts(ips=("10.0.0.0/8",)), "10.200.0.1", True),
    "subnet with a mask": (Hosts(ips=("10.0.0.0/255.0.0.0",)), "10.200.0.1", True),
    "outside the subnet": (Hosts(ips=("10.0.0.0/8",)), "11.0.0.1", False),
    "IPv6 subnet": (Hosts(ips=("2001:db8::/32",)), "2001:db8::5", True),
    "IPv4 in an IPv6 subnet": (Hosts(ips=("2001:db8::/32",)), "10.0.0.1", False),
    "scoped address": (Hosts(ips=("fe80::/10",)), "fe80::1%eth0", True),
    "name": (Hosts(names=("here.test",)), "203.0.113.9", True),
    "name of another": (Hosts(names=("there.test",)), "203.0.113.9", False),
    "name that does not resolve": (Hosts(names=("missing.test",)), "203.0.113.9", False),
    "regexp": (Hosts(regexps=(r"^here\.",)), "203.0.113.9", True),
    "regexp, anywhere in the name": (Hosts(regexps=("ere",)), "203.0.113.9", True),
    "regexp of another": (Hosts(regexps=("^there",)), "203.0.113.9", False),
    "regexp that is none": (Hosts(regexps=("(",)), "203.0.113.9", False),
    "like": (Hosts(likes=("%.test",)), "203.0.113.9", True),
    "like, one sign": (Hosts(likes=("her_.test",)), "203.0.113.9", True),
    "like, the whole name": (Hosts(likes=("her%",)), "203.0.113.9", True),
    "like of another": (Hosts(likes=("ther%",)), "203.0.113.9", False),
    "like, a plain name": (Hosts(likes=("here.test",)), "203.0.113.9", True),
    "like, an address": (Hosts(likes=("203.0.113.9",)), "203.0.113.9", True),
    "like, a wildcard address": (Hosts(likes=("203.0.%.%",)), "203.0.7.8", True),
    "like, outside it": (Hosts(likes=("203.0.%.%",)), "203.1.7.8", False),
    "like, a subnet": (Hosts(likes=("203.0.0.0/16",)), "203.0.7.8", True),
    "like, loopback": (Hosts(likes=("127.%.%.%",)), "127.0.0.1", True),
    "like, IPv6": (Hosts(likes=("2001:0db8:%:%:%:%:%:%",)), "2001:db8::7", True),
    "like, IPv6 elsewhere": (Hosts(likes=("2001:0db8:%:%:%:%:%:%",)), "2001:db9::7", False),
    "like, nonsense": (Hosts(likes=("10.%",)), "10.0.0.1", False),
    "a name that does not lead back": (Hosts(regexps=(".*",)), "203.0.113.77", False),
    "an address without a name": (Hosts(regexps=(".*",)), "203.0.113.1", False),
}
NAMES = {"203.0.113.9": "here.test", "203.0.113.77": "liar.test"}
ADDRESSES = {"here.test": "203.0.113.9", "there.test": "203.0.113.8", "liar.test": "203.0.113.9"}


def reverse(address: str) -> tuple[str, list[str], list[str]]:
    if address not in NAMES:
        raise socket.herror
    return NAMES[address], [], [address]


def forward(name: str, _port: None, **_: int) -> list[tuple[int, int, int, str, tuple[str, int]]]:
    if name not in ADDRESSES:
        raise socket.gaierror
    return [(2, 1, 6, "", (ADDRESSES[name], 0))]


@pytest.mark.parametrize(("hosts", "address", "let_in"), CASES.values(), ids=CASES.keys())
def test_hosts(hosts: Hosts, address: str, let_in: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostbyaddr", reverse)
    monkeypatch.setattr(socket, "getaddrinfo", forward)
    assert hosts.contain(address) == let_in
