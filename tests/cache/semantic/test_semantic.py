"""The semantic cache on the walk: what it answers, what it refuses, what it costs when it fails."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from entroute.cache.parts import CacheParts
from entroute.evidence import Likeness, Outcome
from entroute.stores import Store
from entroute.stores.memory import MemoryStore
from entroute.stores.redis import RedisStore
from entroute.types import Options, Principal
from tests.cache.caches import parts_in
from tests.cache.semantic.meanings import LetterEmbedder, chat, link_to, with_meaning
from tests.redis_server import RedisServer, redis_server
from tests.walks import Walk, either, walk

ASKED = "How tall is Mount Fuji?"
AGAIN = "How tall is mount fuji"


def caching(**facts: Any) -> CacheParts:
    return with_meaning(parts_in(MemoryStore(2**20, lambda: 0.0)), **facts)


def told(walked: Walk) -> Likeness | None:
    return walked.recorded.traces[-1].likeness


def unnamed(outcome: Outcome) -> Outcome:
    """Return an outcome as it is kept: without the names of workers."""
    completions = tuple(replace(choice, worker="") for choice in outcome.choices)
    return replace(outcome, choices=completions, candidates=completions)


def cache_of(walked: Walk) -> str | None:
    return walked.recorded.traces[-1].cache


@either
async def test_a_question_that_means_the_same_gets_the_kept_answer(*, stream: bool) -> None:
    asking = walk(caching=caching())
    first = await asking.ask(chat(ASKED), stream=stream)
    second = await asking.ask(chat(AGAIN), stream=stream)
    assert second == unnamed(first)
    assert len(asking.small.calls) == 1
    assert cache_of(asking) == "semantic"
    likeness = told(asking)
    assert likeness is not None
    assert likeness.result == "hit"
    assert likeness.similarity is not None
    assert 0.5 < likeness.similarity < 1
    assert asking.recorded.traces[-1].charges == ()


async def test_the_very_same_question_is_an_exact_hit_and_not_looked_for() -> None:
    embedder = LetterEmbedder()
    asking = walk(caching=caching(embedder=embedder))
    await asking.ask(chat(ASKED))
    await asking.ask(chat(ASKED))
    assert cache_of(asking) == "exact"
    assert told(asking) is None
    assert embedder.texts == [ASKED]  # once for look-up and keeping


async def test_a_question_that_only_looks_alike_is_refused_by_a_guard() -> None:
    asking = walk(caching=caching())
    await asking.ask(chat("How do I enable two-factor authentication?"))
    await asking.ask(chat("How do I disable two-factor authentication?"))
    assert cache_of(asking) == "miss"
    likeness = told(asking)
    assert likeness is not None
    assert (likeness.result, likeness.guard) == ("guarded", "antonyms")
    assert len(asking.small.calls) == 2


async def test_a_guarded_neighbour_does_not_hide_a_good_one() -> None:
    asking = walk(caching=caching())
    await asking.ask(chat("How many legs do 12 spiders have?"))
    await asking.ask(chat("How many legs do 13 spiders have?"))
    await asking.ask(chat("how many legs do 12 spiders have"))
    assert cache_of(asking) == "semantic"
    assert len(asking.small.calls) == 2


async def test_what_is_not_alike_enough_is_a_miss() -> None:
    asking = walk(caching=caching(threshold=0.999))
    await asking.ask(chat(ASKED))
    await asking.ask(chat(AGAIN))
    likeness = told(asking)
    assert cache_of(asking) == "miss"
    assert likeness is not None
    assert (likeness.result, likeness.guard) == ("miss", "")


async def test_the_first_question_of_all_is_a_miss_without_a_similarity() -> None:
    asking = walk(caching=caching())
    await asking.ask(chat(ASKED))
    assert told(asking) == Likeness("miss")


@pytest.mark.parametrize(
    ("request_", "options"),
    [
        (chat(AGAIN, ("system", "Answer in feet.")), Options()),
        (chat(AGAIN, seed=1), Options()),
        (chat(AGAIN, extra={"response_format": {"type": "json_object"}}), Options()),
        (chat(AGAIN), Options(quality=0.9)),
    ],
)
async def test_another_scope_never_answers(request_: Any, options: Options) -> None:
    asking = walk(caching=caching())
    await asking.ask(chat(ASKED))
    await asking.ask(request_, options)
    assert cache_of(asking) == "miss"
    assert told(asking) == Likeness("miss")


async def test_an_equal_conversation_before_the_question_answers() -> None:
    asking = walk(caching=caching())
    before = (("system", "Be brief."), ("user", "Hello"), ("assistant", "Hi"))
    await asking.ask(chat(ASKED, *before))
    await asking.ask(chat(AGAIN, *before))
    assert cache_of(asking) == "semantic"


async def test_tenants_never_share_and_keys_of_one_do() -> None:
    asking = walk(caching=caching())
    await asking.ask(chat(ASKED), principal=Principal("acme"))
    await asking.ask(chat(AGAIN), principal=Principal("umbrella"))
    assert cache_of(asking) == "miss"
    await asking.ask(chat(AGAIN + "!"), principal=Principal("acme", key="another key"))
    assert cache_of(asking) == "semantic"


@pytest.mark.parametrize(
    "request_",
    [chat(AGAIN, n=2), chat(AGAIN, logprobs=True), chat("x" * 501)],
)
async def test_what_may_not_be_answered_by_meaning_is_told(request_: Any) -> None:
    asking = walk(caching=caching())
    await asking.ask(chat(ASKED))
    await asking.ask(request_)
    assert told(asking) == Likeness("ineligible")
    assert cache_of(asking) == "miss"


async def test_a_request_that_is_not_cached_is_not_looked_for() -> None:
    embedder = LetterEmbedder()
    asking = walk(caching=caching(embedder=embedder))
    await asking.ask(chat(ASKED, temperature=0.7))
    await asking.ask(chat(ASKED), Options(cache="bypass"))
    assert embedder.texts == []
    assert told(asking) is None


async def test_a_forced_and_a_refreshed_answer_are_found() -> None:
    asking = walk(caching=caching())
    await asking.ask(chat(ASKED, temperature=0.7), Options(cache="force"))
    await asking.ask(chat(AGAIN, temperature=0.7), Options(cache="force"))
    assert cache_of(asking) == "semantic"
    await asking.ask(chat(AGAIN, temperature=0.0), Options(cache="refresh"))
    await asking.ask(chat(ASKED + "?", temperature=0.0))
    assert cache_of(asking) == "semantic"


async def test_an_invalidated_answer_is_not_found_and_forgotten() -> None:
    parts = caching()
    asking = walk(caching=parts)
    await asking.ask(chat(ASKED), Options(cache_tags=("fuji",)))
    await asking.ask(chat(AGAIN))
    assert cache_of(asking) == "semantic"
    await parts.stamps.invalidate("anonymous", ["fuji"])
    await asking.ask(chat(AGAIN + "!"))
    assert cache_of(asking) == "miss"


async def test_an_answer_whose_time_is_over_is_not_found() -> None:
    now = [0.0]
    asking = walk(caching=with_meaning(parts_in(MemoryStore(2**20, lambda: now[0]))))
    await asking.ask(chat(ASKED))
    now[0] = 61.0
    await asking.ask(chat(AGAIN))
    assert cache_of(asking) == "miss"
    now[0] = 62.0
    await asking.ask(chat(ASKED.upper()))
    assert cache_of(asking) == "semantic"  # the answer that was just made


async def test_a_slow_model_is_a_counted_miss_and_the_answer_is_as_good_as_ever() -> None:
    slow = LetterEmbedder(delay_s=5.0)
    asking = walk(caching=caching(embedder=slow, embed_timeout_ms=1))
    await asking.ask(chat(ASKED))
    assert told(asking) == Likeness("error")
    assert asking.recorded.traces[-1].degraded == []
    await asking.ask(chat(ASKED))
    assert cache_of(asking) == "exact"


async def test_the_model_is_loaded_and_let_go_with_the_cache() -> None:
    embedder = LetterEmbedder()
    parts = caching(embedder=embedder)
    assert parts.semantic is not None
    await parts.semantic.start()
    assert embedder.running
    await parts.semantic.close()
    assert not embedder.running


async def test_disabled_there_is_none() -> None:
    assert caching(enabled=False).semantic is None


def on(server: RedisServer, prefix: str, timeout_s: float = 5.0) -> tuple[CacheParts, Any]:
    """Return one gateway's cache over a server, and its link."""
    link = link_to(server.url, timeout_s)
    store: Store = RedisStore(link, prefix)
    return with_meaning(parts_in(store), redis=link, fingerprint="f"), link


@pytest.mark.parametrize("fixture", ["redis", "redis8"])
async def test_two_gateways_share_what_they_know(
    request: pytest.FixtureRequest, fixture: str
) -> None:
    server, tenant = request.getfixturevalue(fixture), Principal(uuid4().hex)
    (one, first_link), (two, second_link) = on(server, "share:"), on(server, "share:")
    first, second = walk(caching=one), walk(caching=two)
    await second.ask(chat(AGAIN), principal=tenant)
    await first.ask(chat("What do spiders eat?"), principal=tenant)
    spent = len(second.small.calls)
    await second.ask(chat("what do spiders eat"), principal=tenant)
    assert cache_of(second) == "semantic"
    assert len(second.small.calls) == spent
    await first.ask(chat(ASKED), principal=tenant)
    assert cache_of(first) == "semantic"
    await second.ask(chat("what do spiders eat"), principal=Principal(uuid4().hex))
    assert cache_of(second) == "miss"
    for link in (first_link, second_link):
        await link.close()


async def test_a_redis_that_is_killed_or_hung_costs_the_hit_only() -> None:
    with redis_server() as server:
        parts, link = on(server, "dead:", timeout_s=0.2)
        asking = walk(caching=parts)
        await asking.ask(chat(ASKED))
        server.pause()
        answer = await asking.ask(chat(AGAIN))
        server.resume()
        assert answer.choices[0].content == "6 times 7 is 42"
        assert told(asking) == Likeness("error")
        server.kill()
        answer = await asking.ask(chat(AGAIN + "?"))
        assert answer.choices[0].content == "6 times 7 is 42"
        assert told(asking) == Likeness("error")
        await link.close()


async def test_texts_of_one_tenant_are_under_keys_that_name_nobody(redis: RedisServer) -> None:
    parts, link = on(redis, "names:")
    asking = walk(caching=parts)
    tenant = f"tenant-{uuid4().hex}"
    await asking.ask(chat(ASKED), principal=Principal(tenant))
    async with Redis.from_url(redis.url) as watcher:
        keys: list[bytes] = [key async for key in watcher.scan_iter("*")]
    await link.close()
    assert any(key.startswith(b"entroute:semantic:") for key in keys)
    assert not any(tenant.encode() in key or b"Fuji" in key for key in keys)


def test_the_parts_are_otherwise_untouched() -> None:
    plain = parts_in(MemoryStore(2**20, lambda: 0.0))
    enabled = with_meaning(plain)
    assert replace(enabled, semantic=None) == plain


def test_numbers_that_make_no_sense_are_refused() -> None:
    wrong: tuple[Mapping[str, float], ...] = (
        {"threshold": 1.5},
        {"threshold": 0},
        {"max_entries": 0},
        {"embed_timeout_ms": 0},
        {"surprise": 1},
    )
    for config in wrong:
        with pytest.raises(ValueError, match=next(iter(config))):
            caching(**config)
