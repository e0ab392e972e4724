"""Passwords against the secrets that a server would keep."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.sandbox.clickhouse.credentials import Method, first_opened, hash_password, opens

KINDS = [
    "plaintext_password",
    "sha256_password",
    "double_sha1_password",
    "scram_sha256_password",
    "bcrypt_password",
]
PASSWORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


@pytest.mark.parametrize("kind", KINDS)
@given(right=PASSWORDS, wrong=PASSWORDS)
def test_a_password_opens_what_was_made_of_it_and_no_other_does(
    kind: str, right: str, wrong: str
) -> None:
    method = hash_password(kind, right)
    assert opens(method, right)
    assert opens(method, wrong) == (right == wrong)


@pytest.mark.parametrize("kind", KINDS[1:])
def test_a_secret_does_not_show_its_password(kind: str) -> None:
    method = hash_password(kind, "the password")
    assert "the password" not in method.secret
    assert method.secret not in repr(method)


@pytest.mark.parametrize("kind", ["sha256_password", "scram_sha256_password", "bcrypt_password"])
def test_the_same_password_twice_is_two_secrets(kind: str) -> None:
    assert hash_password(kind, "p").secret != hash_password(kind, "p").secret


def test_the_known_answer_of_sha256_with_salt() -> None:
    """SHA-256("right" + "salt"), from sha256sum."""
    secret = "1aa5b636c46f3615265a4521d76a3aa2626a6256d194fd725c2c2e065dd992d9"
    assert opens(Method("sha256_password", secret, "salt"), "right")


def test_a_bcrypt_hash_that_is_none_opens_to_nobody() -> None:
    assert not opens(Method("bcrypt_password", "x" * 60), "")


def test_the_first_method_that_opens_is_told() -> None:
    methods = [hash_password("sha256_password", word) for word in ("a", "b", "b")]
    assert first_opened(methods, "b") == 1
    assert first_opened(methods, "c") is None
    assert first_opened([], "") is None
