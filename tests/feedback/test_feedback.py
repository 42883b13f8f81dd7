"""Labels find their answer, teach, and are counted by what became of them."""

from dataclasses import replace
from typing import Any

import pytest

from entroute.errors import ConfigurationError
from entroute.feedback.feedback import Origin, Receipt
from entroute.feedback.labels import MOST_CHANGES
from tests.feedback.traffic import NOW_S, RULES, Wall, a_feedback, a_learner, decided_trace, seeded

DAY_S = 86400.0


async def test_a_label_is_taken_and_moves_the_prediction_of_its_plan() -> None:
    feedback = a_feedback()
    before = feedback.corrected("p", 0.7)
    assert before == 0.7
    for number in range(50):
        feedback.record(decided_trace(f"r-{number}"))
        assert await feedback.label(f"r-{number}", "a", 0.0) == Receipt("accepted", "p")
    assert feedback.corrected("p", 0.7) < 0.5
    assert feedback.counts["accepted"] == 50
    assert feedback.measures().labels == 50
    assert feedback.measures().brier == pytest.approx(0.75**2)  # of what was said, not corrected


async def test_a_second_label_replaces_and_an_equal_one_changes_nothing() -> None:
    feedback = a_feedback()
    feedback.record(decided_trace())
    assert (await feedback.label("r-1", "a", 0.0)).result == "accepted"
    assert (await feedback.label("r-1", "a", 0.0)).result == "replaced"
    assert (await feedback.label("r-1", "a", 1.0)).result == "replaced"
    assert feedback.measures().labels == 1
    assert feedback.measures().brier == pytest.approx(0.25**2)


async def test_changes_of_one_label_are_bounded_and_equal_ones_are_not() -> None:
    feedback = a_feedback()
    feedback.record(decided_trace())
    for number in range(MOST_CHANGES + 1):
        assert (await feedback.label("r-1", "a", float(number % 2))).accepted
    last = float(MOST_CHANGES % 2)
    refused = await feedback.label("r-1", "a", 1 - last)
    assert refused.result == "invalid"
    assert not refused.accepted
    assert (await feedback.label("r-1", "a", last)).accepted


async def test_unknown_foreign_and_late_labels_teach_nothing_and_are_counted() -> None:
    wall = Wall()
    feedback = a_feedback(wall=wall)
    feedback.record(decided_trace())
    assert (await feedback.label("r-2", "a", 1.0)).result == "unknown"
    assert (await feedback.label("r-1", "b", 1.0)).result == "foreign"
    wall.now += RULES.ttl_s + 1
    assert (await feedback.label("r-1", "a", 1.0)).result == "unknown"
    assert feedback.measures().labels == 0
    assert feedback.counts == {
        **dict.fromkeys(("accepted", "replaced", "no_plan", "invalid"), 0),
        "unknown": 2,
        "foreign": 1,
    }


@pytest.mark.parametrize(
    "facts",
    [
        {"cache": "exact", "decision": {}},
        {"decision": {"plan": ""}},
        {"decision": {"profile_quality": None}},
    ],
)
async def test_answers_that_no_plan_predicted_take_labels_and_teach_nothing(
    facts: dict[str, Any],
) -> None:
    feedback = a_feedback()
    feedback.record(decided_trace(**facts))
    receipt = await feedback.label("r-1", "a", 0.0)
    assert receipt.result == "no_plan"
    assert receipt.accepted
    assert feedback.measures().labels == 0


async def test_an_id_that_is_used_again_means_the_newest_answer() -> None:
    wall = Wall()
    feedback = a_feedback(wall=wall)
    feedback.record(decided_trace(decision={"plan": "old"}))
    assert (await feedback.label("r-1", "a", 1.0)).plan == "old"
    wall.now += 1
    feedback.record(decided_trace(decision={"plan": "new"}))
    assert await feedback.label("r-1", "a", 1.0) == Receipt("accepted", "new")
    assert feedback.measures().labels == 2


async def test_answers_of_other_tenants_with_the_same_id_are_apart() -> None:
    feedback = a_feedback()
    feedback.record(decided_trace(tenant="a", decision={"plan": "of-a"}))
    feedback.record(decided_trace(tenant="b", decision={"plan": "of-b"}))
    assert (await feedback.label("r-1", "b", 1.0)).plan == "of-b"
    assert (await feedback.label("r-1", "a", 1.0)).plan == "of-a"


async def test_audits_are_a_share_of_requests_and_only_while_labels_come() -> None:
    wall, rng = Wall(), seeded(1)
    feedback = a_feedback(wall=wall)
    feedback.record(decided_trace())
    assert feedback.audit_share == 0
    assert not any(rng.random() < feedback.audit_share for _ in range(1000))
    await feedback.label("r-1", "a", 1.0)
    assert feedback.audit_share == RULES.audit_share
    due = sum(rng.random() < feedback.audit_share for _ in range(5000))
    assert due == pytest.approx(5000 * RULES.audit_share, rel=0.2)
    wall.now += RULES.ttl_s + 1
    assert not any(rng.random() < feedback.audit_share for _ in range(1000))


async def test_labels_that_teach_nothing_keep_audits_going() -> None:
    wall = Wall()
    feedback = a_feedback(wall=wall)
    feedback.record(decided_trace())
    await feedback.label("r-1", "a", 1.0)
    wall.now += RULES.ttl_s + 1
    assert feedback.audit_share == 0
    feedback.record(decided_trace(request_id="r-2", decision={"plan": ""}))
    assert (await feedback.label("r-2", "a", 1.0)).result == "no_plan"
    assert feedback.audit_share == RULES.audit_share


async def test_no_share_no_audit() -> None:
    feedback = a_feedback(rules=replace(RULES, audit_share=0.0))
    feedback.record(decided_trace())
    await feedback.label("r-1", "a", 1.0)
    assert not any(seeded(seed).random() < feedback.audit_share for seed in range(100))


async def test_drift_makes_a_profile_stale() -> None:
    feedback = a_feedback(learner=a_learner(tolerance=0.01, false_alarms=0.2))
    rng, number = seeded(1), 0
    while not feedback.drifted and number < 400:
        number += 1
        # A new plan every time: none has labels of its own to learn from.
        facts = {"plan": f"plan-{number}", "profile_quality": rng.choice((0.02, 0.98))}
        feedback.record(decided_trace(f"r-{number}", decision=facts))
        await feedback.label(f"r-{number}", "a", float(rng.random() < 0.5))
    assert "drift" in (feedback.stale or "")
    assert feedback.drift_evidence > 0


def test_an_old_profile_is_stale_from_the_day_it_is_too_old() -> None:
    wall = Wall()
    rules = replace(RULES, max_age_days=30)
    feedback = a_feedback(wall=wall, rules=rules, origin=Origin("x", NOW_S - 29 * DAY_S))
    young = feedback.stale
    assert young is None
    wall.now += 2 * DAY_S
    assert "max_age_days (30)" in (feedback.stale or "")
    unknown = a_feedback(wall=wall, rules=rules, origin=Origin("x"))
    assert unknown.stale is None


def test_a_profiles_origin_names_its_content_and_its_day() -> None:
    origin = Origin.of("content", "2026-11-23")
    assert origin.made_s == 1795392000
    assert Origin.of("content", "2026-11-23T00:00:00+00:00") == origin
    assert Origin.of("other", "2026-11-23").name != origin.name
    with pytest.raises(ConfigurationError, match=r"made\.at"):
        Origin.of("content", "yesterday")
