from hypothesis import given
from hypothesis import strategies as st

from entroute.cache.codec import encode
from entroute.cache.memory import MemoryCache
from tests.cache.samples import incompressible, outcome

ENTRY = len(encode(outcome())) + 1  # one-letter keys


def cache(max_bytes: int) -> MemoryCache:
    return MemoryCache(max_bytes, 60.0, lambda: 0.0)


async def test_the_least_recently_used_goes_first() -> None:
    store = cache(ENTRY * 8)
    for key in "abcdefgh":
        await store.put(key, outcome())
    assert await store.get("a") is not None
    await store.put("i", outcome())
    assert await store.get("b") is None
    assert await store.get("a") is not None
    assert await store.get("i") is not None


async def test_an_entry_above_an_eighth_is_not_kept() -> None:
    store = cache(ENTRY * 8 - 1)
    await store.put("a", outcome())
    assert await store.get("a") is None
    assert store.size_bytes == 0


async def test_an_older_answer_does_not_outlive_a_newer_one_that_is_too_large() -> None:
    store = cache(ENTRY * 8)
    await store.put("a", outcome())
    await store.put("a", outcome(incompressible(4000)))
    assert await store.get("a") is None


async def test_closing_forgets_everything() -> None:
    store = cache(ENTRY * 8)
    await store.put("a", outcome())
    await store.close()
    assert store.size_bytes == 0
    assert await store.get("a") is None


async def test_an_expired_entry_gives_its_room_back_when_asked_for() -> None:
    now = [0.0]
    store = MemoryCache(ENTRY * 8, 10.0, lambda: now[0])
    await store.put("a", outcome())
    now[0] = 10.0
    assert await store.get("a") is None
    assert store.size_bytes == 0


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 300), st.booleans())))
async def test_no_sequence_of_calls_exceeds_the_bound(steps: list[tuple[str, int, bool]]) -> None:
    store = cache(ENTRY * 10)
    for key, length, put in steps:
        if put:
            await store.put(key, outcome("x" * length))
        else:
            await store.get(key)
        held = sum(len(key) + len(entry.data) for key, entry in store._entries.items())
        assert store.size_bytes == held <= ENTRY * 10
