"""The heart: how hard requests are, what is decided, spent, saved, checked, and was it right.

The page reads from top to bottom as a request goes: difficulty, decision, spending, checking; then
whether predictions came true and what deciding itself costs.
"""

from deploy.dashboards.adaptive_quality import overhead, right
from deploy.dashboards.adaptive_spending import checked, moved, saved, spent, stopped
from deploy.dashboards.layout import Board, Section, line, section
from deploy.dashboards.panels import (
    AnyPanel,
    Column,
    Query,
    bars,
    distribution,
    hot,
    lines,
    number,
    rows,
    total,
)
from deploy.dashboards.queries import grown, mean, mean_shown, ours, part_of, rate, share
from deploy.dashboards.style import (
    DOLLARS,
    EVENTS,
    NATS,
    NUMBER,
    ORANGE,
    RED,
    REQUESTS,
    SHARE,
    YELLOW,
    Look,
)

ANSWERED = grown(ours("requests_total", 'outcome="ok"'))
OPEN = Look(most=1, empty="no estimates")


def board() -> Board:
    """Return the dashboard."""
    return Board(
        uid="entroute-adaptive-compute",
        title="Adaptive compute",
        summary="How hard requests are, what is decided and spent, and whether it is right.",
        sections=(
            _worth(),
            _hard(),
            _decided(),
            spent(),
            saved(),
            moved(),
            checked(),
            stopped(),
            right(),
            overhead(),
        ),
    )


def _worth() -> Section:
    spent_tokens = grown(ours("tokens_total"))
    saved_tokens = grown(ours("tokens_saved_total"))
    tokens_not_spent = total(
        "Tokens not spent",
        "Share of all tokens that a plain run would have spent and this one did not: kept "
        "answers, resumed samples, samples stopped or never drawn.",
        SHARE,
        Query(share(saved_tokens, f"{saved_tokens} + {spent_tokens}"), "saved"),
        Look(empty="no tokens"),
    )
    samples_per_answer = total(
        "Samples per answer",
        "Finished samples an answer. 1 is a plain model call; self-consistency draws more "
        "where votes differ.",
        NUMBER,
        Query(share(grown(ours("samples_total", 'result="finished"')), ANSWERED), "samples"),
        Look(empty="no answers", decimals=2),
    )
    moved_tier = total(
        "Requests that moved tier",
        "Moves between tiers a request: escalations, hand-overs and back, fall-backs. Near 1 "
        "the small tier is hardly worth asking; near 0 nothing is checked.",
        SHARE,
        Query(share(grown(ours("escalations_total")), ANSWERED), "moved"),
        Look(steps=((0.5, YELLOW), (0.9, ORANGE)), empty="no answers"),
    )
    return section(
        "Is it worth it? (in the time shown)",
        line(
            4,
            (4, _cost_per_1000()),
            (4, tokens_not_spent),
            (4, samples_per_answer),
            (4, moved_tier),
            (4, _promised_quality()),
            (4, _calibration_error()),
        ),
    )


def _cost_per_1000() -> AnyPanel:
    return total(
        "Cost per 1000 answers",
        "Dollars for a thousand requests that ended ok, everything counted: probes, samples, "
        "verifiers, what was thrown away.",
        DOLLARS,
        Query(f"1000 * {grown(ours('cost_usd_total'))} / ({ANSWERED} > 0)", "cost"),
        Look(empty="no answers"),
    )


def _promised_quality() -> AnyPanel:
    return total(
        "Promised quality",
        "Mean predicted probability of a right answer, where the policy predicts.",
        SHARE,
        Query(mean_shown("predicted_quality"), "promised"),
        Look(empty="no predictions"),
    )


def _calibration_error() -> AnyPanel:
    return number(
        "Calibration error",
        "By how much promises and labels differ on average (debiased). Below 0.05 promises "
        "can be believed; above 0.1 fit a new profile.",
        NUMBER,
        Query(f"avg({ours('calibration_error')})", "error"),
        Look(steps=((0.05, YELLOW), (0.1, RED)), empty="too few labels", decimals=3),
    )


def _hard() -> Section:
    difficulty_spread = distribution(
        "Difficulty in the time shown",
        "Requests by estimated difficulty, each bar up to the number beside it. All in one "
        "bar: the estimate tells nothing apart, and the policy can save nothing.",
        NUMBER,
        Query(grown(ours("difficulty_bucket"), "le"), "{{le}}"),
        Look(empty="no estimates", decimals=0),
    )
    mean_difficulty = lines(
        "Mean difficulty by source",
        "By what estimated it: words, a probe, the learned profile. A source that vanishes "
        "failed; then requests are decided without it (degraded).",
        NUMBER,
        Query(mean("difficulty", "source"), "{{source}}"),
        look=OPEN,
    )
    entropy_spread = distribution(
        "Entropy of answers (nats)",
        "Answers by mean token entropy in nats, a lower bound. Confident models stay below "
        "0.3; a long tail are answers worth sampling again or handing over.",
        NUMBER,
        Query(grown(ours("entropy_nats_bucket"), "le"), "{{le}}"),
        Look(empty="no log-probabilities", decimals=0),
    )
    return section(
        "How hard is what is asked?",
        line(
            8,
            (8, _difficulty_over_time()),
            (5, difficulty_spread),
            (6, mean_difficulty),
            (5, entropy_spread),
        ),
    )


def _difficulty_over_time() -> AnyPanel:
    return hot(
        "Difficulty over time",
        "Estimated difficulty, 1 hardest: darker where more requests lie. A move upwards is "
        "another mix of prompts, or an estimator that no longer knows them.",
        NUMBER,
        Query(rate(ours("difficulty_bucket"), "le"), "{{le}}"),
        Look(empty="no estimates"),
    )


def _decided() -> Section:
    by_tier = rate(ours("requests_total"), "tier")
    chosen = grown(ours("decisions_total"), "plan")
    tier_shares = lines(
        "Share of requests by tier",
        "Which tier gave the answer; `none` are requests refused before. The share of the "
        "small tier is what adaptive compute saves; falling, look at difficulty above.",
        SHARE,
        Query(by_tier, "{{tier}}"),
        look=Look(stacked="percent", most=1, empty="no requests"),
    )
    first = line(8, (8, tier_shares), (8, _strategies()), (8, _tiers_and_strategies()))
    plans = rows(
        "Plans of the profile",
        "How often each plan was chosen and what it promised. A plan that is never chosen is "
        "dominated; one that takes all leaves nothing to decide. `none`: no plan applied.",
        "plan",
        Column("requests", chosen, NUMBER, 0),
        Column("share", part_of(chosen, grown(ours("decisions_total"))), SHARE, 1),
        Column("promised", mean_shown("predicted_quality", "plan"), SHARE, 1),
        look=Look(empty="no profile"),
    )
    mean_entropy = lines(
        "Entropy of answers by tier",
        "Mean token entropy in nats. The small tier's should be the higher; rising on both, "
        "prompts changed or a model was replaced.",
        NATS,
        Query(mean("entropy_nats", "tier"), "{{tier}}"),
        look=Look(empty="no log-probabilities"),
    )
    second = line(8, (8, plans), (8, _bases()), (8, mean_entropy))
    return section("What is decided?", first, second)


def _strategies() -> AnyPanel:
    return lines(
        "Requests by strategy",
        "How answers were made. One strategy alone under `auto` means the policy sees no "
        "reason to choose, or has fallen back (basis, below).",
        REQUESTS,
        Query(rate(ours("requests_total"), "strategy"), "{{strategy}}"),
        look=Look(stacked="normal", empty="no requests"),
    )


def _tiers_and_strategies() -> AnyPanel:
    return bars(
        "Tier and strategy",
        "The ten most frequent pairs in the time shown. Sampling on the large tier is the dearest "
        "there is: it should stand low.",
        NUMBER,
        Query(
            f"sort_desc(topk(10, {grown(ours('requests_total'), 'tier', 'strategy')}))",
            "{{tier}} · {{strategy}}",
        ),
        look=Look(empty="no requests", decimals=0),
    )


def _bases() -> AnyPanel:
    return lines(
        "What decisions go by",
        "`predicted`: best worth. `target`: the client's quality. `audit`: chance, to learn. "
        "`unfamiliar`, `free_form`: a fixed plan. `fallback`: without a profile, bad if it "
        "lasts.",
        EVENTS,
        Query(rate(ours("decisions_total"), "basis"), "{{basis}}"),
        look=Look(
            stacked="normal", colours=(("fallback", RED), ("audit", "purple")), empty="no profile"
        ),
    )
