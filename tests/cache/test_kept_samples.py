"""Which samples are kept, for which prompts, and what becomes of those that cannot be read."""

import time
from collections.abc import Mapping
from dataclasses import replace

import pytest

from entroute.redis_link.budgeted import BudgetedRedis
from entroute.spending import BudgetLimits
from entroute.stores import Store
from entroute.stores.memory import MemoryStore
from entroute.stores.redis import RedisStore
from entroute.types import ChatRequest, Options, Principal
from tests.builders import a_request
from tests.cache.resuming import SEEDED, answers, drawn, gateway
from tests.fakes import no_task_left
from tests.redis_server import redis_server
from tests.scripted import says
from tests.walks import COLD, WARM, Walk

__all__ = ["no_task_left"]

FORCED = Options(cache="force")


@pytest.mark.parametrize(
    ("request_", "options", "kept"),
    [
        (SEEDED, Options(), True),
        (WARM, Options(), False),
        (WARM, FORCED, True),
        (SEEDED, Options(cache="bypass"), False),
    ],
)
async def test_only_what_may_be_answered_as_before_is_resumed(
    store: Store,
    request_: ChatRequest,
    options: Options,
    kept: bool,  # noqa: FBT001
) -> None:
    await gateway(store, n=3).ask(request_, options)
    second = gateway(store, n=3)
    await second.ask(request_, options)
    assert (drawn(second) == []) == kept
    assert (second.trace.samples is None) != kept


async def test_the_operator_may_have_sampled_requests_resumed(store: Store) -> None:
    rules = {"sampled": True}
    await gateway(store, n=3, rules=rules).ask(WARM)
    second = gateway(store, n=3, rules=rules)
    await second.ask(WARM)
    assert drawn(second) == []


async def test_refresh_replaces_what_was_kept(store: Store) -> None:
    await gateway(store, answers(41), n=5).ask(SEEDED)
    again = gateway(store, answers(42), answers(43), answers(44), n=3)
    await again.ask(SEEDED, Options(cache="refresh"))
    assert drawn(again) == [0, 1, 2]
    third = gateway(store, answers(43), n=5)
    outcome = await third.ask(SEEDED)
    assert drawn(third) == [3, 4]
    assert "43" in outcome.choices[0].content


async def test_tenants_do_not_share_unless_that_is_configured(store: Store) -> None:
    one, other = Principal("one"), Principal("other")
    await gateway(store, n=3).ask(SEEDED, principal=one)
    second = gateway(store, n=3)
    await second.ask(SEEDED, principal=other)
    assert drawn(second) == [0, 1, 2]
    rules = {"across_tenants": True}
    await gateway(store, n=3, rules=rules).ask(SEEDED, principal=one)
    third = gateway(store, n=3, rules=rules)
    await third.ask(SEEDED, principal=other)
    assert drawn(third) == []


@pytest.mark.parametrize(
    "other",
    [
        a_request("What is 6 times 8?", seed=1),
        replace(SEEDED, seed=2),
        replace(SEEDED, max_tokens=2),
        replace(SEEDED, temperature=0.5),
        replace(SEEDED, extra={"top_p": 0.5}),
    ],
)
async def test_what_changes_a_sample_is_another_prompt(store: Store, other: ChatRequest) -> None:
    await gateway(store, n=3).ask(SEEDED)
    second = gateway(store, n=3)
    await second.ask(other)
    assert len(drawn(second)) == 3


@pytest.mark.parametrize(
    "other",
    [
        replace(SEEDED, model="small"),
        replace(SEEDED, extra={"user": "somebody", "stream": True}),
    ],
)
async def test_what_changes_no_sample_is_the_same_prompt(store: Store, other: ChatRequest) -> None:
    await gateway(store, n=3).ask(SEEDED)
    second = gateway(store, n=3)
    await second.ask(other, Options(strategy="self_consistency"))
    assert drawn(second) == []


async def test_choices_are_samples(store: Store) -> None:
    await gateway(store, n=3).ask(SEEDED)
    second = gateway(store, strategy="single")
    outcome = await second.ask(replace(SEEDED, n=4))
    assert drawn(second) == [3]
    assert len(outcome.choices) == 4


async def test_an_invalidated_tag_starts_a_vote_over(store: Store) -> None:
    tagged = Options(cache_tags=("news",))
    await gateway(store, n=3).ask(SEEDED, tagged)
    second = gateway(store, n=3)
    await second.ask(SEEDED, tagged)
    assert drawn(second) == []
    assert second.caching is not None
    await second.caching.stamps.invalidate("anonymous", ["news"])
    third = gateway(store, n=3)
    await third.ask(SEEDED, tagged)
    assert drawn(third) == [0, 1, 2]


async def test_what_a_worker_cut_or_left_empty_is_not_kept(store: Store) -> None:
    first = gateway(store, says(""), answers(42, finish_reason="abort"), answers(42), n=3)
    await first.ask(SEEDED)
    second = gateway(store, n=3)
    await second.ask(SEEDED)
    assert drawn(second) == [0, 1]


async def test_what_our_own_budget_cut_is_not_kept(store: Store) -> None:
    short = answers(42, finish_reason="length")
    await gateway(store, short, strategy="single", limits=BudgetLimits(1, 1, 60.0)).ask(COLD)
    second = gateway(store, strategy="single")
    await second.ask(COLD)
    assert drawn(second) == [0]


async def test_a_dead_redis_costs_a_vote_nothing_but_its_start() -> None:
    with redis_server() as server:
        link = BudgetedRedis(server.url, 5.0, time.monotonic)
        store = RedisStore(link)
        await gateway(store, n=3).ask(SEEDED)
        server.kill()
        second = gateway(store, n=3)
        outcome = await second.ask(SEEDED)
        await link.close()
    assert drawn(second) == [0, 1, 2]
    assert outcome.degraded == ("cache",)
    assert (second.trace.samples, second.trace.degraded) == ("error", ["cache"])


def discarded(walk: Walk) -> dict[str, int]:
    """Return how many entries a gateway could not use, by reason."""
    assert walk.caching is not None
    assert walk.caching.samples is not None
    return walk.caching.samples.discarded


class Spied(MemoryStore):
    """Remembers what it was given fields for."""

    def __init__(self) -> None:
        super().__init__(2**24, time.monotonic)
        self.keys: list[str] = []

    async def put_fields(self, key: str, fields: Mapping[str, bytes], ttl_s: float) -> None:
        """Store them."""
        self.keys.append(key)
        await super().put_fields(key, fields, ttl_s)


async def test_damaged_and_foreign_samples_are_counted_and_drawn_again() -> None:
    store = Spied()
    await gateway(store, n=3).ask(SEEDED)
    (key,) = store.keys
    assert "times" not in key
    kept = dict(await store.fields(key))
    foreign = kept["1"][:2] + bytes([kept["1"][2] + 1]) + kept["1"][3:]
    await store.put_fields(key, {"0": b"garbage", "1": foreign}, 60.0)
    second = gateway(store, n=3)
    await second.ask(SEEDED)
    assert drawn(second) == [0, 1]
    assert discarded(second) == {"damaged": 1, "version": 1}


async def test_a_key_of_another_kind_is_a_counted_miss(shared: Store) -> None:
    spied = Spied()
    await gateway(spied, n=3).ask(SEEDED)
    await shared.put(spied.keys[0], b"no hash", 60.0)
    second = gateway(shared, n=3)
    assert (await second.ask(SEEDED)).degraded == ()
    assert drawn(second) == [0, 1, 2]
    assert discarded(second) == {"wrong_type": 1}


async def test_samples_larger_than_their_share_are_not_kept(store: Store) -> None:
    rules = {"most_bytes": 1000}
    long = says(*(f"{number} " for number in range(500)))
    await gateway(store, long, answers(42), n=3, rules=rules).ask(SEEDED)
    second = gateway(store, n=3, rules=rules)
    await second.ask(SEEDED)
    assert drawn(second) == [0, 1, 2]
