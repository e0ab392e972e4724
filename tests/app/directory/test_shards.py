"""Which tenant lies on which Redis: by the names of all, and by nothing else."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from app.config.redis import RedisSettings
from app.directory.shards import connect_all, place

NAMES = st.lists(
    st.from_regex(r"redis-[a-z]{1,4}:\d{4}/0", fullmatch=True), min_size=1, unique=True
)
TENANTS = st.from_regex(r"[a-z0-9][a-z0-9-]{0,20}", fullmatch=True)


@given(tenant=TENANTS, names=NAMES, chance=st.randoms())
def test_the_order_of_the_list_does_not_matter(
    tenant: str, names: list[str], chance: object
) -> None:
    shuffled = sorted(names, key=lambda _: chance.random())  # type: ignore[attr-defined]
    assert place(tenant, names) == place(tenant, shuffled) in names


@given(tenants=st.lists(TENANTS), names=NAMES, more=st.just("redis-new:6379/0"))
def test_a_redis_that_is_added_takes_tenants_and_nobody_moves_between_the_others(
    tenants: list[str], names: list[str], more: str
) -> None:
    for tenant in tenants:
        assert place(tenant, [*names, more]) in {place(tenant, names), more}


@given(tenants=st.lists(TENANTS), names=NAMES)
def test_a_redis_that_is_taken_away_gives_up_its_own_tenants_alone(
    tenants: list[str], names: list[str]
) -> None:
    gone, left = names[0], names[1:]
    for tenant in tenants:
        if left and place(tenant, names) != gone:
            assert place(tenant, left) == place(tenant, names)


def test_each_redis_gets_its_share_of_ten_thousand_tenants_and_a_fifth_one_a_fifth() -> None:
    tenants, names = [f"tenant-{n}" for n in range(10_000)], [f"redis-{n}:6379/0" for n in range(4)]
    shares = Counter(place(tenant, names) for tenant in tenants)
    assert all(2300 < shares[name] < 2700 for name in names)
    moved = sum(place(t, names) != place(t, [*names, "redis-4:6379/0"]) for t in tenants)
    assert 1800 < moved < 2200


async def test_a_tenant_has_one_link_and_every_link_its_tenants() -> None:
    shards = connect_all(RedisSettings(urls=("redis://a", "redis://b:7000/2")))
    tenants = [f"t{n}" for n in range(100)]
    assert set(shards.links) == {"a:6379/0", "b:7000/2"}
    parts = shards.by_link(tenants)
    assert sorted(name for names in parts.values() for name in names) == sorted(tenants)
    for link, names in parts.items():
        assert names == shards.on(link, tenants)
        assert all(shards.of(name) is link for name in names)
    await shards.close()
