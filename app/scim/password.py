"""Passwords become ClickHouse's hashes in the request that brings them; nothing else is kept.

A hash is text: `sha256:HASH:SALT` or `bcrypt:HASH`. It is stored beside the document, so that no
answer, filter or event can show it, and only the lane reads it.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import secrets
import unicodedata
from dataclasses import dataclass, field
from typing import Final, Literal

from app.errors import InvalidValue

Method = Literal["sha256", "bcrypt"]

NO_PASSWORD: Final = ""
"""What stands for a password that was taken away; None is one that nobody spoke of."""

MAX_BYTES: Final = 1024
BCRYPT_BYTES: Final = 72  # bcrypt reads no further: two passwords alike so far would be one


@dataclass(frozen=True, slots=True)
class Hashed:
    """A password's hash, as IDENTIFIED WITH takes it. `salt`: empty where `value` holds it."""

    method: Method
    value: str = field(repr=False)
    salt: str = field(default="", repr=False)

    @property
    def text(self) -> str:
        """Return the form that is stored; `parse_hashed` reads it."""
        return ":".join(filter(None, (self.method, self.value, self.salt)))


def parse_hashed(text: str) -> Hashed:
    """Return what `Hashed.text` made; ValueError for anything else, without showing it."""
    match text.split(":"):
        case ["sha256", value, salt] if value and salt:
            return Hashed("sha256", value, salt)
        case ["bcrypt", value] if value:
            return Hashed("bcrypt", value)
    raise ValueError("this is no stored password hash")


@dataclass(frozen=True, slots=True)
class Hasher:
    """Turns passwords into hashes by one method.

    `is_slow`: a hash takes tens of milliseconds of a processor, which belong into a thread.
    """

    method: Method = "sha256"
    rounds: int = 12

    @property
    def is_slow(self) -> bool:
        return self.method == "bcrypt"

    @property
    def is_possible(self) -> bool:
        """Whether this installation can make such hashes; bcrypt is a package of its own."""
        return self.method != "bcrypt" or importlib.util.find_spec("bcrypt") is not None

    def hashed(self, password: str) -> str:
        """Return the text of the password's hash, NO_PASSWORD for an empty one.

        It is prepared first, as RFC 8265's OpaqueString: an accent typed in two ways is one accent.
        Two hashes of one password differ: each has a salt of its own. Raises InvalidValue for a
        password that can't be hashed whole.
        """
        if not password:
            return NO_PASSWORD
        encoded = _prepared(password).encode()
        most = BCRYPT_BYTES if self.method == "bcrypt" else MAX_BYTES
        if len(encoded) > most or "\0" in password:
            raise InvalidValue(f"password: must have at most {most} bytes, none of them zero")
        if self.method == "bcrypt":
            bcrypt = importlib.import_module("bcrypt")
            made: bytes = bcrypt.hashpw(encoded, bcrypt.gensalt(self.rounds, prefix=b"2a"))
            return Hashed("bcrypt", made.decode()).text
        salt = secrets.token_hex(32).upper()
        # ClickHouse, Authentication.cpp: SHA-256 of the password with the salt's text behind it.
        value = hashlib.sha256(encoded + salt.encode()).hexdigest().upper()
        return Hashed("sha256", value, salt).text


def _prepared(password: str) -> str:
    spaced = "".join(" " if unicodedata.category(c) == "Zs" else c for c in password)
    return unicodedata.normalize("NFC", spaced)
