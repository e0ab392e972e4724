"""What Okta and Entra ID send in a day gives the access that follows from people and groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from app.sandbox.cast import load_cast
from app.sandbox.observed import differences
from app.sandbox.player import Player
from app.sandbox.story import day_of

if TYPE_CHECKING:
    from tests.e2e.conftest import ByHand, World

DAYS = [("okta", "oin"), ("okta", "aiw"), ("entra", "default"), ("entra", "aadOptscim062020")]


@pytest.mark.parametrize(("idp", "dialect"), DAYS)
async def test_after_each_story_of_a_day_everybody_holds_what_their_groups_give(
    world: World, by_hand: type[ByHand], idp: str, dialect: str
) -> None:
    made = by_hand(world.url())
    await made.make()
    cast, view = load_cast(), world.view()
    player = Player(world.idp.base_url, world.idp.token, cast)
    stories = day_of(idp, dialect)
    assert len(stories) > 4

    for story in stories:
        report = await player.play([story])
        assert report.failures == []
        world.idp.last_seq = max(world.idp.last_seq, report.last_seq)
        assert (await world.idle()).dead_letters == 0
        assert differences(view.expected(cast), await world.access()) == [], story.name

    assert await world.leftovers() == {}
    assert await made.changes() == []
