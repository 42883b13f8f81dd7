"""Outcomes and requests for the cache's tests: two by hand, any by hypothesis."""

from typing import get_args

from hypothesis import strategies as st

from entroute.evidence import Escalation, Outcome, StopReason, Verdict
from entroute.spending import BudgetLimits, Charge, Usage
from entroute.types import ChatRequest, Completion, Options, Principal

texts = st.text(max_size=20)
numbers = st.integers(0, 2**40)
reals = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | reals | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)
)
objects = st.dictionaries(texts, values, max_size=3)


def completion(content: str = "42", **facts: object) -> Completion:
    return Completion(content, "stop", Usage(7, 2, 3, 1), tier="small", **facts)  # type: ignore[arg-type]


def outcome(content: str = "42") -> Outcome:
    usage = Usage(7, 2, 3, 1)
    return Outcome(
        (completion(content),),
        "single",
        "settled",
        charges=(Charge(0, "small", "answer", usage, 0.1),),
    )


def incompressible(length: int) -> str:
    """Return text in which compression finds little to save."""
    return "".join(chr(0x4E00 + (number * 7919) % 20_000) for number in range(length))


usages = st.builds(Usage, numbers, numbers, numbers, numbers, numbers)
completions = st.builds(
    Completion,
    texts,
    texts,
    usages,
    texts,
    texts,
    worker=texts,
    extra=objects,
    choice_extra=objects,
    logprobs=st.lists(objects, max_size=3).map(tuple),
    ttft_s=reals,
    latency_s=reals,
    call_id=st.integers(-1, 1000),
)
stop_reasons = st.sampled_from(get_args(StopReason))


@st.composite
def outcomes(draw: st.DrawFn) -> Outcome:
    """Draw an outcome whose choices are some of its candidates or others."""
    candidates = draw(st.lists(completions, max_size=3))
    chosen = st.sampled_from(candidates) | completions if candidates else completions
    purposes = st.sampled_from(["answer", "sample", "probe", "verify", "discarded"])
    charges = st.builds(Charge, numbers, texts, purposes, usages, reals)
    reasons = st.sampled_from(["unsure", "unavailable", "context"])
    escalations = st.builds(Escalation, texts, texts, reasons, st.none() | reals)
    verdicts = st.builds(Verdict, reals, texts, st.booleans(), st.none() | texts)
    return Outcome(
        choices=tuple(draw(st.lists(chosen, min_size=1, max_size=3))),
        strategy=draw(texts),
        stop_reason=draw(stop_reasons),
        candidates=tuple(candidates),
        verdicts=tuple(draw(st.lists(verdicts, max_size=3))),
        verifier=draw(texts),
        charges=tuple(draw(st.lists(charges, max_size=3))),
        escalations=tuple(draw(st.lists(escalations, max_size=3))),
        degraded=tuple(draw(st.lists(texts, max_size=3))),
        cancelled=draw(numbers),
        failures=tuple(draw(st.lists(texts, max_size=3))),
    )


maybe_count = st.none() | st.integers(1, 100)
limits = st.builds(
    BudgetLimits,
    maybe_count,
    maybe_count,
    st.none() | st.floats(0.1, 60),
    st.none() | st.floats(0, 9),
)
names = st.none() | st.frozensets(st.sampled_from(["a", "b", "c"]))
requests = st.builds(
    ChatRequest,
    model=texts,
    messages=st.lists(objects, max_size=3).map(tuple),
    prompt=st.none() | texts,
    n=st.integers(1, 8),
    max_tokens=maybe_count,
    temperature=st.none() | st.floats(0, 2),
    seed=st.none() | st.integers(0, 2**32),
    logprobs=st.booleans(),
    top_logprobs=st.integers(0, 20),
    extra=objects,
)
options = st.builds(
    Options,
    strategy=st.none() | texts,
    quality=st.none() | st.floats(0, 1),
    limits=limits,
    verifier=st.none() | objects,
    cache=st.sampled_from(["default", "bypass", "refresh", "force"]),
    cache_tags=st.lists(texts, max_size=3).map(tuple),
    explain=st.booleans(),
)
principals = st.builds(Principal, texts, names, names, limits)
