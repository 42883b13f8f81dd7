"""End of the page on adaptive compute: do promises hold, and what does deciding cost."""

from deploy.dashboards.layout import Section, line, section
from deploy.dashboards.panels import (
    AnyPanel,
    Query,
    State,
    distribution,
    hot,
    lines,
    number,
    timeline,
)
from deploy.dashboards.queries import grown, mean, ours, over, quantile, rate, share
from deploy.dashboards.style import GREEN, NUMBER, RED, SECONDS, SHARE, Look

ALARM = 4.6
"Evidence at which the drift alarm rises by default, ln(1 / 0.01)."
FEW = Look(empty="too few labels", least=None)


def right() -> Section:
    """Return what was promised beside what labels say."""
    promised = line(8, (8, _promised_by_plan()), (6, _promise_spread()), (10, _distance()))
    evidence = lines(
        "Evidence of drift",
        "Natural logarithm of the drift test's e-value. At the dashed line (4.6 by default) "
        "the alarm rises and the threshold policy takes over.",
        NUMBER,
        Query(over("max", ours("calibration_drift_evidence")), "evidence"),
        look=Look(steps=((ALARM, RED),), least=None, empty="no feedback"),
    )
    drift_alarm = timeline(
        "Drift alarm",
        "Red: labels contradict the profile, which is out of use until promises hold again or "
        "a new one is fitted (docs/calibration.md).",
        (State(0, "calm", GREEN), State(1, "drift", RED)),
        Query(over("max", ours("calibration_drift")), "profile"),
        Look(empty="no feedback"),
    )
    labels = number(
        "Labels measured on",
        "Labels in the window that the numbers beside are of. Below some hundred they move by "
        "chance.",
        NUMBER,
        Query(over("max", ours("feedback_window_labels")), "labels"),
        Look(empty="no feedback", decimals=0),
    )
    watched = line(7, (8, _skill_and_slope()), (6, evidence), (6, drift_alarm), (4, labels))
    return section("Was it right?", promised, watched)


def _skill_and_slope() -> AnyPanel:
    return lines(
        "Skill and slope",
        "Skill: 1 best, 0 no better than promising everybody the mean. Slope: 1 calibrated; "
        "below 1 promises are too extreme, above 1 too timid.",
        NUMBER,
        Query(over("avg", ours("calibration_skill")), "skill"),
        Query(over("avg", ours("calibration_slope")), "slope"),
        look=FEW,
    )


def _promised_by_plan() -> AnyPanel:
    return lines(
        "Promised quality by plan",
        "Mean predicted probability of a right answer. What labels say of it is to the right "
        "and below.",
        SHARE,
        Query(mean("predicted_quality", "plan"), "{{plan}}"),
        look=Look(most=1, empty="no predictions"),
    )


def _promise_spread() -> AnyPanel:
    return distribution(
        "Promises in the time shown",
        "Requests by predicted probability of a right answer, each bar up to the number "
        "beside it. Few between 0.2 and 0.8: easy from hard is told apart.",
        NUMBER,
        Query(grown(ours("predicted_quality_bucket"), "le"), "{{le}}"),
        Look(empty="no predictions", decimals=0),
    )


def _distance() -> AnyPanel:
    return lines(
        "How far promises and labels differ",
        "Brier: mean squared error, 0.25 is guessing one half. Calibration error: mean "
        "distance of promise and outcome. Rising: the profile no longer fits the traffic.",
        NUMBER,
        Query(over("avg", ours("calibration_brier")), "Brier score"),
        Query(over("avg", ours("calibration_error")), "calibration error"),
        look=Look(empty="too few labels"),
    )


def overhead() -> Section:
    """Return what the gateway itself takes."""
    own = ours("overhead_seconds_bucket")
    audits = rate(ours("decisions_total", 'basis="audit"'))
    own_time = hot(
        "The gateway's own time",
        "Requests by the time that the gateway itself took, waiting for workers, programs, "
        "reward models and clients excluded: estimating, deciding, looking up, counting votes.",
        SECONDS,
        Query(rate(own, "le"), "{{le}}"),
        Look(empty="no requests"),
    )
    own_time_by_endpoint = lines(
        "The gateway's own time by endpoint, p95",
        "95 of 100 requests take less. It does not depend on the model; a rise is a busy CPU, "
        "a slow Redis or a larger semantic cache.",
        SECONDS,
        Query(quantile(0.95, own, "endpoint"), "{{endpoint}}"),
        look=Look(empty="no requests"),
    )
    audited = lines(
        "Decided by chance, to learn",
        "Share of decisions drawn at random so that labels stay honest "
        "(`feedback.audit_share`). 0 while labels come: corrections go blind.",
        SHARE,
        Query(share(audits, rate(ours("decisions_total"))), "audited"),
        look=Look(empty="no profile"),
    )
    return section(
        "What does deciding cost?",
        line(8, (10, own_time), (9, own_time_by_endpoint), (5, audited)),
    )
