"""Log-in methods, their secrets, and whether a password opens one.

The forms are ClickHouse's (`src/Access/AuthenticationData.cpp`): SHA-256 of password and salt one
after the other; SHA-1 twice; PBKDF2 of SCRAM-SHA-256 with 4096 rounds; bcrypt.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

import bcrypt

_SCRAM_ROUNDS = 4096
_BCRYPT_ROUNDS = 4  # the least that bcrypt_workfactor may be; a server takes 12, 0.3 s a log-in
_BCRYPT_BYTES = 72  # of a password are looked at


@dataclass(frozen=True, slots=True)
class Method:
    """One way to log in. `kind`: as `system.users.auth_type` says it.

    `secret`: the password itself for `plaintext_password`, bcrypt's own text, else hex in small
    letters.
    """

    kind: str
    secret: str = field(default="", repr=False)
    salt: str = field(default="", repr=False)


def hash_password(kind: str, password: str) -> Method:
    """Return the method that a server would keep for `IDENTIFIED WITH <kind> BY <password>`."""
    salt = secrets.token_hex(16)
    match kind:
        case "sha256_password":
            return Method(kind, _sha256(password, salt), salt)
        case "double_sha1_password":
            return Method(kind, _double_sha1(password))
        case "scram_sha256_password":
            return Method(kind, _scram(password, salt), salt)
        case "bcrypt_password":
            start = bcrypt.gensalt(_BCRYPT_ROUNDS, b"2a")
            return Method(kind, bcrypt.hashpw(_bytes(password)[:_BCRYPT_BYTES], start).decode())
        case _:
            return Method(kind, password)


def opens(method: Method, password: str) -> bool:
    """Tell whether `password` opens `method`.

    `no_password` is opened by any password, as by a server. Methods that need another party
    (ldap, kerberos, certificates, keys, http) and `no_authentication` are opened by none here.
    """
    match method.kind:
        case "no_password":
            return True
        case "plaintext_password":
            return _same(method.secret, password)
        case "sha256_password":
            return _same(method.secret, _sha256(password, method.salt))
        case "double_sha1_password":
            return _same(method.secret, _double_sha1(password))
        case "scram_sha256_password":
            return _same(method.secret, _scram(password, method.salt))
        case "bcrypt_password":
            return _opens_bcrypt(method.secret, password)
        case _:
            return False


def first_opened(methods: Sequence[Method], password: str) -> int | None:
    """Return the index of the first method that `password` opens.

    All are tried, so that the time taken does not tell which one it was; one is tried in vain
    where there is none.
    """
    results = [opens(method, password) for method in methods]
    if not results:
        opens(_NOBODY, password)
    return results.index(True) if True in results else None


def _sha256(password: str, salt: str) -> str:
    return hashlib.sha256(_bytes(password) + _bytes(salt)).hexdigest()


def _double_sha1(password: str) -> str:
    inner = hashlib.sha1(_bytes(password), usedforsecurity=False).digest()
    return hashlib.sha1(inner, usedforsecurity=False).hexdigest()


def _scram(password: str, salt: str) -> str:
    return hashlib.pbkdf2_hmac("sha256", _bytes(password), _bytes(salt), _SCRAM_ROUNDS).hex()


def _opens_bcrypt(secret: str, password: str) -> bool:
    try:
        return bcrypt.checkpw(_bytes(password)[:_BCRYPT_BYTES], _bytes(secret))
    except ValueError:  # a hash that the engine took by its length alone
        return False


def _same(kept: str, given: str) -> bool:
    return hmac.compare_digest(_bytes(kept), _bytes(given))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


_NOBODY = hash_password("sha256_password", secrets.token_hex(16))
