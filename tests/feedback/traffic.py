"""Traces, labels and gateways' memories that these tests work on."""

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from random import Random
from typing import Any

from entroute.decisions import Decision
from entroute.evidence import Outcome, Trace
from entroute.feedback.decided import DecidedMemory
from entroute.feedback.feedback import Feedback, Origin, Rules
from entroute.feedback.labels import Label
from entroute.feedback.learning import Learner
from entroute.feedback.storage import Keeper, MemoryKeeper
from tests.builders import a_completion, a_trace

ORIGIN = Origin("profile")
RULES = Rules(ttl_s=1000.0, audit_share=0.1, max_age_days=None)
NOW_S = 1_000_000.0
NUMBERS = count()


def seeded(seed: int) -> Random:
    """Return a source of chance that repeats itself."""
    return Random(seed)  # noqa: S311 - a test repeats itself


class Wall:
    """Seconds since the epoch that pass when told."""

    def __init__(self) -> None:
        self.now = NOW_S

    def __call__(self) -> float:
        return self.now


def decided_trace(
    request_id: str = "r-1",
    tenant: str = "a",
    *,
    decision: dict[str, Any] | None = None,
    **facts: Any,
) -> Trace:
    """Return a finished trace; `decision` are facts of it."""
    known: dict[str, Any] = {"plan": "p", "profile_quality": 0.7, "predicted_quality": 0.75}
    trace = a_trace(
        tenant=tenant,
        decision=Decision("small", "single", "test", **{**known, **(decision or {})}),
        outcome=Outcome((a_completion(),), "single", "settled"),
        result="ok",
    )
    trace.request_id = request_id
    for name, value in facts.items():
        setattr(trace, name, value)
    return trace


def a_label(value: float, predicted: float = 0.7, plan: str = "p", **facts: Any) -> Label:
    """Return a label of an answer of its own."""
    number = next(NUMBERS)
    known: dict[str, Any] = {"key": f"answer-{number}", "served": predicted, "propensity": 1.0}
    known |= {"at": NOW_S + number}
    return replace(Label(plan=plan, predicted=predicted, value=value, **known), **facts)


def labels_of(
    true: Callable[[float], float],
    number: int,
    rng: Random,
    plan: str = "p",
    low: float = 0.05,
) -> list[Label]:
    """Return labels of answers that are right with `true` of their prediction."""
    predictions = [rng.uniform(low, 0.95) for _ in range(number)]
    return [a_label(float(rng.random() < true(p)), p, plan) for p in predictions]


def a_learner(**facts: Any) -> Learner:
    """Return a learner of the default settings."""
    return Learner(**{"window": 500, "false_alarms": 0.01, "tolerance": 0.05, **facts})


def a_feedback(
    keeper: Keeper | None = None,
    *,
    wall: Wall | None = None,
    learner: Learner | None = None,
    rules: Rules = RULES,
    origin: Origin = ORIGIN,
    capacity: int = 100,
) -> Feedback:
    """Return what takes labels, in memory unless a keeper is given."""
    clock = wall or Wall()
    return Feedback(
        rules,
        origin,
        DecidedMemory(capacity, rules.ttl_s, clock),
        learner or a_learner(),
        keeper or MemoryKeeper(),
        clock,
    )
