"""What can go wrong in the sandbox server.

CannotStart     at start: one line that says what to do; the program exits 1
ServerError     what a client is told, with ClickHouse's own code
Disconnected    the peer is gone or speaks another protocol: the connection ends, nobody is told
"""

from __future__ import annotations

import re

_CODE = re.compile(r"Code: (\d+)")
_PREFIX = re.compile(r"\ACode: \d+\. ")
_NAME = re.compile(r"(?: \(version [0-9.]+\)\.)? ?\(([A-Z][A-Z0-9_]*)\)\s*\Z")


class CannotStart(Exception):
    pass


class Disconnected(Exception):
    pass


class ServerError(Exception):
    """`code`: ClickHouse's. `message`: as a server's exception packet carries it."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def parse_engine_error(text: str) -> ServerError:
    """Return the engine's error as a server would send it.

    The engine says `Code: 497. DB::Exception: why. (ACCESS_DENIED)`; in a server's packet the code
    is a field of its own and the message is the middle part. Errors of the Poco library carry code
    1000 in the same place.
    """
    found = _CODE.search(text)
    code = int(found[1]) if found else 1001  # STD_EXCEPTION
    return ServerError(code, _NAME.sub("", _PREFIX.sub("", text)).rstrip() or "unknown error")
