"""What is kept comes back as it was, to whom it belongs, for as long as it lives."""

import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.api.responses.items import new_id
from entroute.api.responses.keeping import KeptResponse, ResponseKeeper
from entroute.stores.memory import MemoryStore

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
ITEMS = st.lists(st.fixed_dictionaries({"type": st.text(), "x": JSON}), max_size=4)


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Remembering(MemoryStore):
    """A store that says under which key it last stored something."""

    key = ""

    async def put(self, key: str, value: bytes, ttl_s: float) -> None:
        self.key = key
        await super().put(key, value, ttl_s)


def keeper_of(store: MemoryStore, **changes: Any) -> ResponseKeeper:
    how = {"ttl_s": 10.0, "max_bytes": 1_000_000, "enabled": True, **changes}
    return ResponseKeeper(store=store, **how)


def kept_of(items: list[Any], output: list[Any]) -> KeptResponse:
    return KeptResponse({"id": new_id("resp"), "output": output}, items)


@given(ITEMS, ITEMS)
async def test_a_response_comes_back_as_it_was(items: list[Any], output: list[Any]):
    keeper = keeper_of(MemoryStore(1_000_000, Clock()))
    kept = kept_of(items, output)
    assert await keeper.keep("red", kept)
    found = await keeper.find("red", kept.response["id"])
    assert found == kept
    assert found.conversation == [*items, *output]
    assert await keeper.find("blue", kept.response["id"]) is None


async def test_a_response_lives_for_its_time():
    clock = Clock()
    keeper = keeper_of(MemoryStore(1_000_000, clock))
    kept = kept_of([], [])
    await keeper.keep("red", kept)
    clock.now = 9.9
    assert await keeper.find("red", kept.response["id"]) == kept
    clock.now = 10.0
    assert await keeper.find("red", kept.response["id"]) is None
    assert not await keeper.drop("red", kept.response["id"])
    assert keeper.counts["missing"] == 2


@pytest.mark.parametrize(("spare", "is_kept"), [(0, True), (-1, False)])
async def test_size_is_bounded_as_json(spare: int, *, is_kept: bool):
    store = MemoryStore(1_000_000, Clock())
    kept = kept_of([{"type": "message", "text": "x" * 2000}], [])
    size = len('{"response":{"id":"","output":[]},"items":[{"type":"message","text":""}]}')
    size += len(kept.response["id"]) + 2000
    keeper = keeper_of(store, max_bytes=size + spare)
    assert await keeper.keep("red", kept) is is_kept
    assert (await keeper.find("red", kept.response["id"]) == kept) is is_kept


async def test_an_entry_that_unpacks_to_too_much_is_damaged():
    store = Remembering(1_000_000, Clock())
    keeper = keeper_of(store)
    kept = kept_of([], [])
    await keeper.keep("red", kept)
    packing = zlib.compressobj(9)
    bomb = b"".join(packing.compress(b" " * 2**20) for _ in range(80)) + packing.flush()
    await store.put(store.key, b"\x01" + bomb, 10)
    assert await keeper.find("red", kept.response["id"]) is None
    assert keeper.counts["damaged"] == 1
