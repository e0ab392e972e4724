"""What is asked before something is taken, of whom, and what an answer does.

Programs call the same commands and can't answer: those never wait for one.
"""

from __future__ import annotations

import os
import pty
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from app.clock import Clock
from app.directory.lanes import LaneStore
from app.directory.tokens import create

if TYPE_CHECKING:
    from app.directory.link import Link
    from tests.app.cli.conftest import Cli


_END = "(the end)"


@contextmanager
def terminal(answer: str) -> Iterator[list[str]]:
    """Have a person sit there who types `answer`; what they saw is in the list afterwards."""
    ours, theirs = pty.openpty()
    os.write(ours, answer.encode())
    seen: list[str] = []
    with (
        pytest.MonkeyPatch.context() as patch,
        os.fdopen(os.dup(theirs), "r", encoding="utf-8") as stdin,
        os.fdopen(theirs, "w", encoding="utf-8") as stderr,
    ):
        patch.setattr(sys, "stdin", stdin)
        patch.setattr(sys, "stderr", stderr)
        yield seen
        stderr.write(_END)
        stderr.flush()
        text = ""
        while not text.endswith(_END):
            text += os.read(ours, 10_000).decode()
        seen.append(text.removesuffix(_END))
    os.close(ours)


def states(cli: Cli) -> list[str]:
    return [row["state"] for row in cli("token", "list", cli.tenant, "--json").json]


async def test_a_person_is_asked_before_a_token_ends(cli: Cli, link: Link) -> None:
    token = await create(link, cli.tenant, now_ms=Clock().now_ms())
    for order, more in (("revoke", ()), ("rotate", ("--overlap", "0"))):
        with terminal("n\n") as seen:
            ran = cli("token", order, cli.tenant, token.id, *more)
        assert ran.code == 1
        assert f"End token {token.id} at once?" in seen[0]
        assert "Nothing was done." in seen[0]
        assert states(cli) == ["valid"]
    with terminal("y\n") as seen:
        assert cli("token", "revoke", cli.tenant, token.id).code == 0
    assert states(cli) == []


@pytest.mark.parametrize("more", [(), ("--yes",)], ids=["a program", "--yes"])
async def test_a_program_is_not_asked(cli: Cli, link: Link, more: tuple[str, ...]) -> None:
    token = await create(link, cli.tenant, now_ms=Clock().now_ms())
    ran = cli("token", "rotate", cli.tenant, token.id, "--overlap", "0", "--json", *more)
    assert (ran.code, ran.err) == (0, "")
    assert ran.json["id"] != token.id


async def test_a_person_who_says_yes_beforehand_is_not_asked(cli: Cli, link: Link) -> None:
    token = await create(link, cli.tenant, now_ms=Clock().now_ms())
    with terminal("") as seen:
        assert cli("token", "revoke", cli.tenant, token.id, "--yes").code == 0
    assert seen == [""]


async def test_what_all_lanes_hold_is_let_through_after_a_question(cli: Cli, link: Link) -> None:
    with terminal("n\n") as seen:
        ran = cli("lane", "resume", "--all", "--confirm")
    assert ran.code == 1
    assert "Let through what every blocked lane holds" in seen[0]


@pytest.mark.parametrize("order", ["apply", "undo"])
async def test_everybody_is_adopted_and_given_back_after_a_question(
    cli: Cli, link: Link, order: str
) -> None:
    with terminal("n\n") as seen:
        ran = cli("adopt", order, cli.tenant, "main", "--all")
    assert ran.code == 1
    assert "everybody on main" in seen[0]
    assert await LaneStore(link, cli.tenant, "main").consents() == {}
