"""Passwords as hashes: only somebody who knows the password can tell which it was."""

from __future__ import annotations

import hashlib
import re
import unicodedata

import bcrypt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidValue
from app.scim.password import NO_PASSWORD, Hashed, Hasher, parse_hashed

FAST = Hasher("bcrypt", rounds=4)
SPACES = r"[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]"  # Unicode's category Zs, but for " "
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@given(texts)
def test_a_sha256_hash_is_that_of_the_password_and_its_salt(password: str) -> None:
    hashed = parse_hashed(Hasher().hashed(password))
    prepared = unicodedata.normalize("NFC", re.sub(SPACES, " ", password))
    digest = hashlib.sha256((prepared + hashed.salt).encode()).hexdigest()
    assert hashed == Hashed("sha256", digest.upper(), hashed.salt)


@pytest.mark.parametrize(
    ("typed", "same"),
    [("zoe\u0308", "zo\u00eb"), ("a\u00a0b", "a b"), ("a\u3000b", "a b")],
    ids=["an accent apart", "a space that does not break", "a wide space"],
)
def test_a_password_is_prepared_however_it_was_typed(typed: str, same: str) -> None:
    hashed = parse_hashed(FAST.hashed(typed))
    assert bcrypt.checkpw(same.encode(), hashed.value.encode())


def test_a_bcrypt_hash_opens_to_the_password_alone() -> None:
    hashed = parse_hashed(FAST.hashed("right"))
    assert hashed.method == "bcrypt"
    assert bcrypt.checkpw(b"right", hashed.value.encode())
    assert not bcrypt.checkpw(b"wrong", hashed.value.encode())


@pytest.mark.parametrize("hasher", [Hasher(), FAST], ids=lambda h: h.method)
def test_nobody_can_tell_who_has_the_same_password(hasher: Hasher) -> None:
    assert hasher.hashed("same") != hasher.hashed("same")


@pytest.mark.parametrize("hasher", [Hasher(), FAST], ids=lambda h: h.method)
def test_an_empty_password_is_none(hasher: Hasher) -> None:
    assert hasher.hashed("") == NO_PASSWORD


@pytest.mark.parametrize(
    ("hasher", "password"),
    [(Hasher(), "x" * 1025), (FAST, "x" * 73), (FAST, "ü" * 37), (FAST, "a\0b")],
    ids=["too long", "too long for bcrypt", "too many bytes", "a zero"],
)
def test_a_password_that_can_not_be_hashed_whole_is_refused_untold(
    hasher: Hasher, password: str
) -> None:
    with pytest.raises(InvalidValue) as refused:
        hasher.hashed(password)
    assert password not in str(refused.value)


def test_only_bcrypt_is_slow() -> None:
    assert (Hasher().is_slow, FAST.is_slow) == (False, True)


@pytest.mark.parametrize("text", ["sha256:A:B", "bcrypt:$2a$04$x"])
def test_what_is_stored_is_read_back_and_never_printed(text: str) -> None:
    hashed = parse_hashed(text)
    assert hashed.text == text
    assert not any(part in repr(hashed) for part in ("A", "B", "$2a"))


@pytest.mark.parametrize("text", ["", "sha256", "sha256:A", "sha256:A:", "md5:A:B", "S3cret"])
def test_what_is_no_stored_hash_is_not_told(text: str) -> None:
    with pytest.raises(ValueError, match="no stored") as refused:
        parse_hashed(text)
    assert "S3cret" not in str(refused.value)
