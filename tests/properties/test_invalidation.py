"""No answer is given again once one of its tags was invalidated by its tenant; others stay."""

from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from entroute.stores.memory import MemoryStore
from entroute.types import Options, Principal
from tests.builders import a_request, a_tier
from tests.cache.caches import parts_in
from tests.scripted import FakeBackend, says
from tests.walks import Walk

tenants = st.sampled_from(["a", "b"])
tags = st.frozensets(st.sampled_from("xyz"), max_size=2).map(lambda chosen: tuple(sorted(chosen)))
questions = st.sampled_from(["one?", "two?"])
modes = st.sampled_from(["default", "refresh", "bypass"])


@dataclass(frozen=True)
class Ask:
    """A tenant asks a question, with tags."""

    tenant: str
    question: str
    tags: tuple[str, ...]
    mode: str


@dataclass(frozen=True)
class Invalidate:
    """A tenant invalidates tags."""

    tenant: str
    tags: tuple[str, ...]


steps = st.lists(
    st.builds(Ask, tenants, questions, tags, modes) | st.builds(Invalidate, tenants, tags),
    max_size=30,
)


@given(steps)
async def test_an_answer_lives_exactly_until_its_tenant_invalidates_one_of_its_tags(
    taken: Sequence[Ask | Invalidate],
) -> None:
    made = FakeBackend(*(says(str(number)) for number in range(len(taken) + 1)))
    parts = parts_in(MemoryStore(2**20, lambda: 0.0))
    walk = Walk(tiers=(a_tier("small", made), a_tier("large")), caching=parts)
    kept: dict[tuple[str, str], tuple[str, tuple[str, ...]]] = {}
    for step in taken:
        if isinstance(step, Invalidate):
            await parts.stamps.invalidate(step.tenant, step.tags)
            gone = [
                place
                for place, (_, held) in kept.items()
                if place[0] == step.tenant and set(held) & set(step.tags)
            ]
            for place in gone:
                del kept[place]
            continue
        place = step.tenant, step.question
        known = kept.get(place) if step.mode == "default" else None
        expected = known[0] if known else str(len(made.calls))
        outcome = await walk.ask(
            a_request(step.question, temperature=0.0),
            Options(cache=step.mode, cache_tags=step.tags),  # type: ignore[arg-type]
            Principal(step.tenant),
        )
        assert outcome.choices[0].content == expected
        if known is None and step.mode != "bypass":
            kept[place] = expected, step.tags
