"""What is kept: answers, samples, results of programs, responses; and the Redis for it."""

from deploy.dashboards.layout import Board, Section, line, section
from deploy.dashboards.panels import AnyPanel, Query, State, bars, lines, number, timeline, total
from deploy.dashboards.queries import both, grown, ours, over, rate, share
from deploy.dashboards.style import (
    EVENTS,
    GREEN,
    GREY,
    NUMBER,
    ORANGE,
    RED,
    SHARE,
    TOKENS,
    YELLOW,
    Look,
)

RESULTS = (
    ("hit|shared|kept|found|ok", GREEN),
    ("miss|ineligible|missing|deleted", GREY),
    ("guarded|follow_timeout|too_large|open", YELLOW),
    ("error|damaged|timeout|unavailable|refused", RED),
)
UNUSED = "no look-ups"
HIT = 'result=~"hit|shared"'


def _lookups(kind: str, *matchers: str) -> str:
    return ours("cache_lookups_total", f'kind="{kind}"', *matchers)


def _ratio(kind: str) -> str:
    return share(rate(_lookups(kind, HIT)), rate(_lookups(kind)))


def board() -> Board:
    """Return the dashboard."""
    return Board(
        uid="entroute-cache",
        title="Cache",
        summary="What is answered or drawn from what is kept, what is refused, how Redis fares.",
        sections=(_worth(), _answers(), _meaning(), _rest(), _redis()),
    )


def _worth() -> Section:
    degraded = share(rate(ours("degraded_total", 'part="cache"')), rate(ours("requests_total")))
    hits_by_meaning = number(
        "Hits by meaning",
        "Share of semantic look-ups that were answered by a question that means the same. A "
        "few percent on free traffic is usual.",
        SHARE,
        Query(_ratio("semantic"), "hits"),
        Look(empty="semantic cache off"),
    )
    tokens_saved = total(
        "Tokens saved in the time shown",
        "Tokens of kept answers and resumed samples, prompts included.",
        NUMBER,
        Query(grown(ours("tokens_saved_total", 'reason=~"cache|resumed"')), "saved"),
        Look(empty="nothing saved"),
    )
    without_cache = number(
        "Requests without the cache",
        "Share of requests for which the cache failed or was too slow; they cost a model "
        "call. Above 0: Redis, at the end of this page.",
        SHARE,
        Query(degraded, "without"),
        Look(steps=((0.001, YELLOW), (0.05, RED)), empty="no requests", decimals=2),
    )
    return section(
        "Now",
        line(
            4,
            (6, _exact_hits()),
            (6, hits_by_meaning),
            (6, tokens_saved),
            (6, without_cache),
        ),
    )


def _exact_hits() -> AnyPanel:
    return number(
        "Exact hits",
        "Share of look-ups that found the very same request answered, those that waited for "
        "an equal one under way among them.",
        SHARE,
        Query(_ratio("exact"), "hits"),
        Look(empty=UNUSED),
    )


def _answers() -> Section:
    exact_look_ups = lines(
        "Exact look-ups by result",
        "`shared`: waited for an equal request. `follow_timeout`: waited in vain, raise "
        "`follow_s` or look for slow answers. `error`: Redis.",
        EVENTS,
        Query(rate(_lookups("exact"), "result"), "{{result}}"),
        look=Look(stacked="normal", colours=RESULTS, empty=UNUSED),
    )
    hit_ratios = lines(
        "Hit ratios",
        "Of each kind of look-up. A fall after a release is normal where the schema changed "
        "(discarded: version); otherwise keys or tags changed.",
        SHARE,
        *(Query(_ratio(kind), kind) for kind in ("exact", "semantic", "samples")),
        look=Look(most=1, empty=UNUSED),
    )
    tokens_not_spent = lines(
        "Tokens not spent, by reason",
        "Tokens a second of kept answers (`cache`) and kept samples (`resumed`).",
        TOKENS,
        Query(rate(ours("tokens_saved_total", 'reason=~"cache|resumed"'), "reason"), "{{reason}}"),
        look=Look(stacked="normal", empty="nothing saved"),
    )
    return section(
        "The same request again",
        line(8, (8, exact_look_ups), (8, hit_ratios), (8, tokens_not_spent)),
    )


def _meaning() -> Section:
    hits, guarded = (rate(_lookups("semantic", f'result="{r}"')) for r in ("hit", "guarded"))
    semantic_look_ups = lines(
        "Semantic look-ups by result",
        "`guarded`: alike, and refused because it differs in what matters. `ineligible`: not "
        "asked (tools, images, not English). `error`: model or Redis too slow.",
        EVENTS,
        Query(rate(_lookups("semantic"), "result"), "{{result}}"),
        look=Look(stacked="normal", colours=RESULTS, empty="semantic cache off"),
    )
    guards_that_refused = bars(
        "Guards that refused, in the time shown",
        "What differed in questions that were alike: numbers, names, negations. One guard far "
        "above the others on your traffic may be too strict: read such pairs with `explain`.",
        NUMBER,
        Query(f"sort_desc({grown(ours('cache_false_hit_guard_total'), 'guard')})", "{{guard}}"),
        look=Look(empty="none refused", decimals=0),
    )
    refused_share = lines(
        "Refused share of what was alike",
        "Of questions above the threshold, those a guard refused. Half is usual. Near 0 with "
        "many hits: read some of them, the guards may not know your domain.",
        SHARE,
        Query(share(guarded, both(guarded, hits)), "refused"),
        look=Look(most=1, empty="nothing alike"),
    )
    return section(
        "The same meaning in other words",
        line(8, (8, semantic_look_ups), (8, guards_that_refused), (8, refused_share)),
    )


def _rest() -> Section:
    stored_responses = lines(
        "Stored responses",
        "`kept`, `found`, `deleted` are as they should; `missing`: asked for after their "
        "time; `unavailable`: Redis.",
        EVENTS,
        Query(rate(ours("stored_responses_total"), "result"), "{{result}}"),
        look=Look(stacked="normal", colours=RESULTS, empty="responses not used"),
    )
    entries_not_used = bars(
        "Entries not used, in the time shown",
        "`version`: another release wrote it. `invalidated`: by a tag. `too_large`: raise "
        "`max_entry_bytes`. `damaged`, `wrong_type`: another program writes our keys.",
        NUMBER,
        Query(grown(ours("cache_discarded_total"), "reason"), "{{reason}}"),
        look=Look(
            decimals=0,
            empty="no cache",
            colours=(("damaged|wrong_type", RED), ("too_large", ORANGE)),
        ),
    )
    return section(
        "Samples, programs, responses",
        line(
            8,
            (6, _kept_samples()),
            (6, _programs()),
            (6, stored_responses),
            (6, entries_not_used),
        ),
    )


def _kept_samples() -> AnyPanel:
    return lines(
        "Kept samples by result",
        "Votes that began with samples of earlier runs (`hit`), or not.",
        EVENTS,
        Query(rate(_lookups("samples"), "result"), "{{result}}"),
        look=Look(stacked="normal", colours=RESULTS, empty="no votes"),
    )


def _programs() -> AnyPanel:
    return lines(
        "Programs run or known",
        "`hit`, `shared`: not run again. `changing`: may not be kept, it names a clock or "
        "chance. `error`, `damaged`: the store.",
        EVENTS,
        Query(rate(ours("executions_total"), "result"), "{{result}}"),
        look=Look(stacked="normal", colours=RESULTS, empty="no sandbox"),
    )


def _redis() -> Section:
    calls = rate(ours("redis_calls_total"))
    failed = rate(ours("redis_calls_total", 'result!="ok"'))
    redis = timeline(
        "Redis as each replica sees it",
        "Red: some Redis in use does not answer in time. One replica alone: its network; all: "
        "the server.",
        (State(0, "down", RED), State(1, "up", GREEN)),
        Query(over("min", ours("redis_up"), "instance"), "{{instance}}"),
        Look(empty="no Redis configured"),
    )
    calls_to_redis = lines(
        "Calls to Redis by result",
        "`timeout`: not within 50 ms. `open`: not asked, since it failed a moment ago. "
        "`refused`: it says no (memory, rights).",
        EVENTS,
        Query(rate(ours("redis_calls_total"), "result"), "{{result}}"),
        look=Look(stacked="normal", colours=RESULTS, empty="no Redis configured"),
    )
    failed_calls = lines(
        "Failed share of calls to Redis",
        "Above 1% for long: a slow network, a Redis that saves or swaps.",
        SHARE,
        Query(share(failed, calls), "failed"),
        look=Look(steps=((0.01, ORANGE),), empty="no Redis configured"),
    )
    return section("Redis", line(8, (8, redis), (8, calls_to_redis), (8, failed_calls)))
