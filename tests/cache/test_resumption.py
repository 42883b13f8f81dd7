"""The calls of one prompt: what is kept of them, and what another run finds."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.cache.resumption import MOST_CALLS, MOST_SAMPLES, Resumption
from entroute.types import Call, ChatRequest
from tests.builders import a_completion, a_request
from tests.cache.caches import LARGE
from tests.scripted import token

MINE = a_request(seed=1)
JUDGES = a_request("Is 42 right?", temperature=0.0)


def a_resumption(stored: Mapping[str, dict[str, bytes]] | None = None) -> Resumption:
    return Resumption(
        MINE,
        digest=lambda request: request.text.encode().hex(),
        pure=lambda request: request.temperature == 0 or request.seed is not None,
        discard=lambda _: None,
        stored=stored or {},
    )


def a_call(request: ChatRequest = MINE, sample: int = 0, **facts: Any) -> Call:
    return Call(0, request, facts.pop("purpose", "sample"), 1e12, sample, **facts)


def after(*calls: Call, content: str = "42", most_bytes: int = LARGE) -> Resumption:
    """Return what a run has that follows one which made these calls of tier small."""
    made = a_resumption()
    tokens = tuple(token(-0.1, (-0.1, -2.0, -3.0)) for _ in range(2))
    for call in calls:
        made.note("small", call, a_completion(content, logprobs=tokens, worker="w", latency_s=3.0))
    stored: dict[str, bytes] = {}
    for fields in made.new("small", most_bytes):
        stored.update(fields)
    return a_resumption({"small": stored})


def test_a_call_is_found_by_its_sample_and_its_tier() -> None:
    later = after(a_call(sample=3))
    found = later.find("small", a_call(sample=3))
    assert found is not None
    assert found == replace(a_completion("42"), resumed=True)
    assert later.find("small", a_call(sample=1), 2) == found
    assert later.find("small", a_call(sample=2)) is None
    assert later.find("large", a_call(sample=3)) is None


@pytest.mark.parametrize(("asked", "wanted", "shown"), [(3, 2, 2), (3, 3, 3), (3, 0, 0)])
def test_log_probabilities_are_those_asked_for(asked: int, wanted: int, shown: int) -> None:
    found = after(a_call(top_logprobs=asked)).find("small", a_call(top_logprobs=wanted))
    assert found is not None
    assert [len(entry["top_logprobs"]) for entry in found.logprobs] == [shown, shown]


@pytest.mark.parametrize("asked", [None, 2])
def test_fewer_log_probabilities_than_are_needed_will_not_do(asked: int | None) -> None:
    assert after(a_call(top_logprobs=asked)).find("small", a_call(top_logprobs=3)) is None


def test_log_probabilities_that_cannot_be_read_are_missing() -> None:
    later = after(a_call(top_logprobs=3))
    fields = {name: data for name, data in later.stored["small"].items() if "+" not in name}
    damaged = a_resumption({"small": {**fields, "0+": b"garbage"}})
    reasons: list[str] = []
    damaged.discard = reasons.append
    assert damaged.find("small", a_call(top_logprobs=3)) is None
    assert damaged.find("small", a_call()) is not None
    assert reasons == ["damaged"]


def test_a_call_derived_from_the_prompt_is_found_by_what_it_asks() -> None:
    later = after(a_call(JUDGES, purpose="verify"))
    assert later.find("small", a_call(replace(JUDGES), purpose="verify")) is not None
    assert later.find("small", a_call(a_request("Is 41 right?", temperature=0.0))) is None
    assert later.find("small", a_call()) is None


@pytest.mark.parametrize(
    "call",
    [
        a_call(a_request("Is 42 right?"), purpose="verify"),  # sampled, no seed
        a_call(JUDGES, purpose="probe"),
        a_call(partial="So"),
        a_call(sample=MOST_SAMPLES),
    ],
)
def test_what_another_run_would_not_ask_again_is_not_kept(call: Call) -> None:
    later = after(call)
    assert later.stored == {"small": {}}
    assert later.find("small", call) is None


def test_the_calls_of_a_prompt_are_bounded_in_number() -> None:
    requests = [a_request(f"Is {n} right?", temperature=0.0) for n in range(MOST_CALLS + 5)]
    assert len(after(*map(a_call, requests)).stored["small"]) == 2 * MOST_CALLS


@given(
    lengths=st.lists(st.integers(1, 400), max_size=12),
    most=st.integers(100, 3000),
    before=st.integers(0, 3000),
)
def test_the_calls_of_a_prompt_are_bounded_in_bytes(
    lengths: list[int], most: int, before: int
) -> None:
    run = a_resumption({"small": {"old": b"." * before}})
    for sample, length in enumerate(lengths):
        run.note("small", a_call(sample=sample), a_completion("x" * length))
    new = [data for fields in run.new("small", most) for data in fields.values()]
    assert not new or before + sum(map(len, new)) <= most
    assert all(len(data) <= most // 8 for data in new)
