"""Ports of the sandbox's servers: free ones, and the same again after a restart."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Iterable, Mapping

# Below the range that systems take for outgoing connections (32768 and up on Linux): a client
# that tries again and again to reach a server that is being restarted could otherwise be given
# the server's own port, and keep it.
_RANGE = range(20_000, 32_000)
_ATTEMPTS = 1000


def choose_ports(
    names: Iterable[str],
    remembered: Mapping[str, object],
    chance: random.Random,
    patience_s: float = 1.0,
) -> dict[str, int]:
    """Return a free port on the loopback interface for each name: the remembered one if possible.

    A remembered port that is taken gets `patience_s` to become free: after a SIGKILL the last
    supervisor's children take a moment to end.
    """
    chosen: dict[str, int] = {}
    until = time.monotonic() + patience_s
    for name in names:
        port = remembered.get(name)
        if isinstance(port, int) and port not in chosen.values() and _is_free_by(port, until):
            chosen[name] = port
        else:
            chosen[name] = _any_free({*chosen.values(), *remembered.values()}, chance)
    return chosen


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return False
    return True


def _is_free_by(port: int, until: float) -> bool:
    while not is_free(port):
        if time.monotonic() >= until:
            return False
        time.sleep(0.02)
    return True


def _any_free(taken: set[object], chance: random.Random) -> int:
    for _ in range(_ATTEMPTS):
        port = chance.choice(_RANGE)
        if port not in taken and is_free(port):
            return port
    raise OSError(f"no free port between {_RANGE.start} and {_RANGE.stop}")
