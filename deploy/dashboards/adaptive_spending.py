"""Middle of the page on adaptive compute: what decisions spend, save, move, check and cut."""

from deploy.dashboards.layout import Section, line, section
from deploy.dashboards.panels import AnyPanel, Query, bars, distribution, lines, number
from deploy.dashboards.queries import both, grown, ours, part_of, rate, share
from deploy.dashboards.style import EVENTS, GREEN, GREY, NUMBER, ORANGE, RED, SHARE, TOKENS, Look

REQUESTS = rate(ours("requests_total"))
FATE = (("finished", GREEN), ("failed", RED), ("cancelled", GREY), ("resumed", "blue"))
TALL = 8


def spent() -> Section:
    """Return samples and tokens by what they were for."""
    purposes = rate(ours("tokens_total"), "purpose")
    discarded = rate(ours("tokens_total", 'purpose="discarded"'), "tier")
    by_purpose = lines(
        "Tokens by purpose",
        "`answer` is what clients read; `sample` votes; `probe` and `verify` are the price of "
        "deciding; `discarded` is waste.",
        TOKENS,
        Query(purposes, "{{purpose}}"),
        look=Look(
            stacked="normal", empty="no calls", colours=(("answer", GREEN), ("discarded", RED))
        ),
    )
    discarded_share = lines(
        "Discarded share by tier",
        "Tokens of calls whose text nobody used: broken streams, losing hedges, rejected "
        "drafts. Above 20% a gate lets too little through.",
        SHARE,
        Query(share(discarded, rate(ours("tokens_total"), "tier")), "{{tier}}"),
        look=Look(steps=((0.2, ORANGE),), empty="no calls"),
    )
    return section(
        "What is spent?",
        line(
            TALL,
            (6, _samples_per_request()),
            (6, _samples_by_strategy()),
            (6, by_purpose),
            (6, discarded_share),
        ),
    )


def _samples_per_request() -> AnyPanel:
    return lines(
        "Samples per request",
        "`cancelled`: not needed any more, early stopping at work. `resumed`: kept from an "
        "earlier run, free. `failed` above a few percent: see Workers.",
        NUMBER,
        Query(part_of(rate(ours("samples_total"), "result"), REQUESTS), "{{result}}"),
        look=Look(stacked="normal", colours=FATE, empty="no samples"),
    )


def _samples_by_strategy() -> AnyPanel:
    return lines(
        "Samples by strategy",
        "Samples a second that each strategy drew and finished.",
        EVENTS,
        Query(rate(ours("samples_total", 'result="finished"'), "strategy"), "{{strategy}}"),
        look=Look(stacked="normal", empty="no samples"),
    )


def saved() -> Section:
    """Return what was not spent, and why."""
    tokens_not_spent = lines(
        "Tokens not spent, by reason",
        "`cache`: kept answers. `resumed`: kept samples. `cancelled`: samples stopped while "
        "they ran. `undrawn`: samples never drawn, since the vote was settled.",
        TOKENS,
        Query(rate(ours("tokens_saved_total"), "reason"), "{{reason}}"),
        look=Look(stacked="normal", empty="nothing saved"),
    )
    stopped_early = lines(
        "Samples stopped early, by strategy",
        "Samples a second that were cancelled because the answer was settled. None where a "
        "voting strategy runs: agreement thresholds are too strict.",
        EVENTS,
        Query(rate(ours("samples_cancelled_total"), "strategy"), "{{strategy}}"),
        look=Look(stacked="normal", empty="none stopped"),
    )
    totals = bars(
        "Saved in the time shown",
        "Tokens by reason, beside those that were spent: what there still is to gain.",
        NUMBER,
        Query(f"sort_desc({grown(ours('tokens_saved_total'), 'reason')})", "{{reason}}"),
        Query(grown(ours("tokens_total")), "spent"),
        look=Look(empty="no tokens", colours=(("spent", GREY),), decimals=0),
    )
    return section(
        "What is saved?",
        line(7, (10, tokens_not_spent), (7, stopped_early), (7, totals)),
    )


def moved() -> Section:
    """Return moves between tiers and what a move costs."""
    written, reread = (rate(ours(f"{what}_tokens_total"), "tier") for what in ("segment", "reread"))
    moves_per_request = lines(
        "Moves per request, by reason",
        "Share of all requests. A jump of `unsure` after a new model or profile: its gate "
        "does not fit; of `unavailable`: see Workers.",
        SHARE,
        Query(part_of(rate(ours("escalations_total"), "reason"), REQUESTS), "{{reason}}"),
        look=Look(stacked="normal", empty="no moves"),
    )
    writers = lines(
        "Who writes handed-over answers",
        "Share of their tokens by tier. The large tier writing most of them: hand over "
        "earlier, or at once.",
        SHARE,
        Query(written, "{{tier}}"),
        look=Look(stacked="percent", most=1, empty="no hand-overs"),
    )
    read_again = lines(
        "Tokens read again per token written",
        "What a hand-over costs: the answer so far is read again by the next tier. Above 1 it "
        "changes hands too often; keep prefix caches on.",
        NUMBER,
        Query(share(reread, written), "{{tier}}"),
        look=Look(steps=((1, ORANGE),), empty="no hand-overs"),
    )
    return section(
        "Where does it change its mind?",
        line(
            TALL,
            (8, _moves_between_tiers()),
            (5, moves_per_request),
            (5, writers),
            (6, read_again),
        ),
    )


def _moves_between_tiers() -> AnyPanel:
    return lines(
        "Moves between tiers",
        "`unsure`: confidence below the gate. `rejected`: a check failed. `calm`: back to the "
        "small tier. `unavailable`: the tier is down. `context`: the prompt did not fit.",
        EVENTS,
        Query(
            rate(ours("escalations_total"), "from", "to", "reason"), "{{from}} → {{to}}: {{reason}}"
        ),
        look=Look(stacked="normal", empty="no moves"),
    )


def checked() -> Section:
    """Return what verifiers say."""
    seen = rate(ours("verifier_score_count"), "verifier")
    low = rate(ours("verifier_score_bucket", 'le="0.5"'), "verifier")
    silent = rate(ours("verifier_abstained_total"), "verifier")
    accepted = lines(
        "Accepted share by verifier",
        "Candidates with a score above 0.5, of those judged. Near 1 the verifier lets "
        "everything pass, near 0 nothing: neither is worth its calls.",
        SHARE,
        Query(f"1 - {low} / ({seen} > 0)", "{{verifier}}"),
        look=Look(most=1, empty="no verifier"),
    )
    scores = distribution(
        "Scores in the time shown",
        "Candidates by score, each bar up to the number beside it. Two humps tell right from "
        "wrong; one hump in the middle does not.",
        NUMBER,
        Query(grown(ours("verifier_score_bucket"), "le"), "{{le}}"),
        Look(empty="no verifier", decimals=0),
    )
    abstained = lines(
        "Abstained share by verifier",
        "Candidates that were not judged: no code to run, a judge that gave no verdict, a "
        "service that is down. Votes or confidence decide instead.",
        SHARE,
        Query(share(silent, both(silent, seen)), "{{verifier}}"),
        look=Look(most=1, steps=((0.5, ORANGE),), empty="no verifier"),
    )
    return section(
        "Is it checked?",
        line(TALL, (8, accepted), (8, scores), (8, abstained)),
    )


def stopped() -> Section:
    """Return which limits cut requests short."""
    exhausted = rate(ours("budget_exhausted_total"))
    cut_share = number(
        "Cut by a limit",
        "Share of requests that a budget or deadline cut. They get the best answer so far; "
        "above 5% budgets are too small for what is asked.",
        SHARE,
        Query(share(exhausted, REQUESTS), "cut"),
        Look(steps=((0.05, ORANGE), (0.2, RED)), empty="no requests"),
    )
    cut_by_limit = lines(
        "Requests cut, by limit",
        "`deadline`: too slow, or too many samples in turn. `max_calls`, "
        "`max_generated_tokens`, `max_cost_usd`: the client's, the key's or the server's cap.",
        EVENTS,
        Query(rate(ours("budget_exhausted_total"), "limit"), "{{limit}}"),
        look=Look(stacked="normal", empty="none cut"),
    )
    left_out = lines(
        "Left out of plans under load",
        "Requests that got fewer samples and optional calls that were not made, since the "
        "tiers are busy: cheaper answers before refused ones.",
        EVENTS,
        Query(rate(ours("shed_total", 'kind=~"samples|optional"'), "kind"), "{{kind}}"),
        look=Look(stacked="normal", empty="no gateway"),
    )
    return section(
        "What cuts it short?",
        line(7, (5, cut_share), (11, cut_by_limit), (8, left_out)),
    )
