"""Whose address a request has, behind proxies and in front of liars."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from app.config.network import parse_network
from app.http.address import client_address, user_agent

PROXIES = [parse_network("10.0.0.0/8"), parse_network("fd00::/8")]
CASES: dict[str, tuple[str | None, Sequence[str], str]] = {
    "no proxy": ("203.0.113.7", [], "203.0.113.7"),
    "a stranger's header counts nothing": ("203.0.113.7", ["198.51.100.1"], "203.0.113.7"),
    "one proxy": ("10.1.1.1", ["203.0.113.7"], "203.0.113.7"),
    "two proxies": ("10.1.1.1", ["203.0.113.7, 10.2.2.2"], "203.0.113.7"),
    "what the client made up": ("10.1.1.1", ["1.2.3.4, 203.0.113.7"], "203.0.113.7"),
    "several headers": ("10.1.1.1", ["1.2.3.4", "203.0.113.7"], "203.0.113.7"),
    "a proxy that says nothing": ("10.1.1.1", [], "10.1.1.1"),
    "a proxy that talks nonsense": ("10.1.1.1", ["203.0.113.7, unknown"], "10.1.1.1"),
    "IPv6": ("fd00::1", ["2001:db8::5"], "2001:db8::5"),
    "IPv4 in IPv6": ("::ffff:10.1.1.1", ["::ffff:203.0.113.7"], "203.0.113.7"),
    "with a zone": ("fe80::1%eth0", [], "fe80::1"),
    "a unix socket": (None, ["203.0.113.7"], ""),
}


@pytest.mark.parametrize(("peer", "forwarded", "address"), CASES.values(), ids=CASES.keys())
def test_the_client_is_the_last_that_no_proxy_of_ours_is(
    peer: str | None, forwarded: Sequence[str], address: str
) -> None:
    assert client_address(peer, forwarded, PROXIES) == address


def test_a_user_agent_is_one_short_line() -> None:
    assert user_agent("Okta\r\n\tSCIM\x00 1.0") == "OktaSCIM 1.0"
    assert len(user_agent("x" * 9000)) == 200
    assert not user_agent(None)
