from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.errors import WrongKind
from entroute.stores.memory import MemoryStore

ENTRY = 10 + 1  # one-letter keys


def store(max_bytes: int) -> MemoryStore:
    return MemoryStore(max_bytes, lambda: 0.0)


async def test_the_least_recently_used_goes_first() -> None:
    kept = store(ENTRY * 8)
    for key in "abcdefgh":
        await kept.put(key, b"0123456789", 60)
    assert await kept.get("a") is not None
    await kept.put("i", b"0123456789", 60)
    assert await kept.get("b") is None
    assert await kept.get("a") is not None
    assert await kept.get("i") is not None


async def test_an_entry_above_an_eighth_is_not_kept() -> None:
    kept = store(ENTRY * 8 - 1)
    await kept.put("a", b"0123456789", 60)
    assert await kept.get("a") is None
    assert kept.size_bytes == 0


async def test_fields_above_an_eighth_are_not_kept() -> None:
    kept = store(ENTRY * 8)
    await kept.put_fields("a", {"x": b"1234"}, 60)
    assert await kept.fields("a") == {"x": b"1234"}
    await kept.put_fields("a", {"y": b"1234", "z": b"1234"}, 60)
    assert await kept.fields("a") == {}
    assert kept.size_bytes == 0


async def test_an_older_value_does_not_outlive_a_newer_one_that_is_too_large() -> None:
    kept = store(ENTRY * 8)
    await kept.put("a", b"old", 60)
    await kept.put("a", bytes(ENTRY), 60)
    assert await kept.get("a") is None


async def test_closing_forgets_everything() -> None:
    kept = store(ENTRY * 8)
    await kept.put("a", b"1", 60)
    await kept.close()
    assert kept.size_bytes == 0
    assert await kept.get("a") is None


async def test_an_expired_entry_gives_its_room_back_when_asked_for() -> None:
    now = [0.0]
    kept = MemoryStore(ENTRY * 8, lambda: now[0])
    await kept.put("a", b"1", 10)
    now[0] = 10.0
    assert await kept.get("a") is None
    assert kept.size_bytes == 0


async def test_a_value_is_not_read_as_fields_nor_fields_as_a_value() -> None:
    kept = store(1000)
    await kept.put("value", b"1", 60)
    await kept.put_fields("fields", {"x": b"1"}, 60)
    with pytest.raises(WrongKind, match="fields holds fields"):
        await kept.get("fields")
    with pytest.raises(WrongKind, match="value holds a value"):
        await kept.put_fields("value", {"x": b"1"}, 60)


steps = st.tuples(
    st.sampled_from("abcdef"),
    st.binary(max_size=30) | st.dictionaries(st.sampled_from("xyz"), st.binary(max_size=30)),
    st.booleans(),
)


@given(st.lists(steps))
async def test_no_sequence_of_calls_exceeds_the_bound(
    calls: list[tuple[str, bytes | Mapping[str, bytes], bool]],
) -> None:
    kept = store(ENTRY * 10)
    for key, held, put in calls:
        if not put:
            await kept.delete(key)
        elif isinstance(held, bytes):
            await kept.put(key, held, 60)
        else:
            await kept.delete(key)
            await kept.put_fields(key, held, 60)
        inside = sum(entry.size(key) for key, entry in kept._entries.items())
        assert kept.size_bytes == inside <= ENTRY * 10
