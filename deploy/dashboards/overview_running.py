"""Lower half of the first page: promises, load, and the gateway's own processes."""

from deploy.dashboards.layout import Line, Section, line, section
from deploy.dashboards.panels import (
    AnyPanel,
    Query,
    State,
    bars,
    lines,
    names,
    number,
    timeline,
    total,
)
from deploy.dashboards.queries import grown, objective, ours, over, rate, recorded, share
from deploy.dashboards.style import (
    DOLLARS,
    EVENTS,
    GREEN,
    GREY,
    NUMBER,
    ORANGE,
    RED,
    SHARE,
    YELLOW,
    Look,
)

WINDOWS = ("5m", "1h", "6h")
BURNING = Look(steps=((1, YELLOW), (6, ORANGE), (14.4, RED)), empty="needs the recording rules")


def objectives() -> Section:
    """Return what is promised and how fast the error budgets burn."""
    callable_, known = (
        over("sum", recorded(f"workers_{which}:count"), "tier") for which in ("callable", "known")
    )
    spending = lines(
        "Spending beside its limit",
        "Dollars an hour over 15 minutes, an hour and six, beside the limit that the alert "
        "goes by.",
        DOLLARS,
        *(
            Query(over("sum", recorded(f"spend_usd_per_hour:rate{w}")), w)
            for w in ("15m", "1h", "6h")
        ),
        Query("max(entroute:objective:spend_usd_per_hour)", "limit"),
        look=Look(colours=(("limit", RED),), empty="needs the recording rules"),
    )
    callable_workers = lines(
        "Callable workers by tier",
        "Workers that at least one gateway may call, of those it knows. 0: the tier is down; "
        "a pinned request gets 503, `auto` another tier.",
        SHARE,
        Query(share(callable_, known), "{{tier}}"),
        look=Look(most=1, empty="needs the recording rules"),
    )
    return section(
        "What is promised",
        line(
            7,
            (7, _availability_burn()),
            (7, _first_token_burn()),
            (5, spending),
            (5, callable_workers),
        ),
    )


def _availability_burn() -> AnyPanel:
    return lines(
        "Burn of the availability budget",
        "1: the errors of 30 days are used up in exactly 30 days. 14.4 on 5m and 1h pages, 6 "
        "on 6h, too. A short window alone is a blip.",
        NUMBER,
        *_burn("requests_failed", "availability"),
        look=BURNING,
    )


def _first_token_burn() -> AnyPanel:
    return lines(
        "Burn of the first-token budget",
        "The same of streams whose first piece came later than the threshold of the objective.",
        NUMBER,
        *_burn("first_tokens_late", "ttft"),
        look=BURNING,
    )


def _burn(what: str, promise: str) -> tuple[Query, ...]:
    budget = f"(1 - {objective(promise)})"
    return tuple(
        Query(f"{over('max', recorded(f'{what}:ratio{window}'))} / {budget}", window)
        for window in WINDOWS
    )


def load() -> Section:
    """Return what waits, what is left out, and what is missing."""
    left_out = lines(
        "Left out under load",
        "`samples` and `optional` make answers cheaper and refuse nobody; `full`, `timeout` "
        "and `displaced` are calls without a worker: add some.",
        EVENTS,
        Query(rate(ours("shed_total"), "kind"), "{{kind}}"),
        look=Look(
            stacked="normal",
            empty="no gateway",
            colours=(("full|timeout", RED), ("displaced", ORANGE), ("samples", YELLOW)),
        ),
    )
    degraded_parts = lines(
        "Degraded parts",
        "Requests a second that did without a part. `cache`, `limits`: Redis. `tier:...`: its "
        "workers. `gate`, `profile`: calibration. `verifier`, `sandbox`: that service.",
        EVENTS,
        Query(rate(ours("degraded_total"), "part"), "{{part}}"),
        look=Look(stacked="normal", empty="never"),
    )
    return section(
        "Under load, and with parts missing",
        line(
            8,
            (6, _in_flight()),
            (6, _waiting()),
            (6, left_out),
            (6, degraded_parts),
        ),
    )


def _in_flight() -> AnyPanel:
    return lines(
        "In flight by replica",
        "Requests on their way at each replica. One far above the others: the load balancer "
        "does not spread them, or that replica hangs.",
        NUMBER,
        Query(over("sum", ours("requests_in_flight"), "instance"), "{{instance}}"),
        look=Look(stacked="normal", empty="no gateway"),
    )


def _waiting() -> AnyPanel:
    return lines(
        "Calls that wait, by tier",
        "Calls for which no worker of the tier has room. Anything that stays above 0 needs "
        "workers: samples shrink first, then requests are refused.",
        NUMBER,
        Query(over("sum", ours("queue_depth"), "tier"), "{{tier}}"),
        look=Look(stacked="normal", empty="no gateway"),
    )


def itself() -> Section:
    """Return the gateway's processes, versions and configuration."""
    return section("The gateway itself", _replicas(), _configuration())


def _replicas() -> Line:
    scraped = number(
        "Scraped replicas",
        "Replicas that Prometheus reaches, of those it knows. Below 1 one is down, or its "
        "event loop hangs.",
        SHARE,
        Query(over("avg", 'up{job=~"$job"}'), "up"),
        Look(steps=((0.5, ORANGE), (1, GREEN)), below=RED, empty="none known"),
    )
    draining = number(
        "Draining",
        "Replicas that were asked to stop and finish what runs. Above 0 for longer than "
        "`server.drain_s`: a client holds a stream open.",
        NUMBER,
        Query(over("sum", ours("draining")), "draining"),
        Look(steps=((1, YELLOW),), empty="no gateway"),
    )
    processes = number(
        "Server processes",
        "Processes that answer, where a replica has several; below `server.processes` one died.",
        NUMBER,
        Query(over("sum", ours("processes_up")), "up"),
        Look(empty="one a replica"),
    )
    restarted = total(
        "Restarted processes",
        "Server processes that ended unasked in the time shown. Each lost its open requests; "
        "the log says why.",
        NUMBER,
        Query(grown(ours("process_restarts_total")), "restarts"),
        Look(steps=((1, RED),), empty="one a replica", decimals=0),
    )
    return line(
        4,
        (8, _versions()),
        (4, scraped),
        (4, draining),
        (4, processes),
        (4, restarted),
    )


def _versions() -> AnyPanel:
    return names(
        "Versions",
        "Replicas by the version they run. Two versions are an upgrade on its way; two for "
        "long are one that is stuck.",
        NUMBER,
        Query(over("count", ours("build_info"), "version"), "{{version}}"),
        Look(empty="no gateway"),
    )


def _configuration() -> Line:
    reloads = bars(
        "Reloads of the configuration",
        "In the time shown. `refused`: the old configuration goes on, and one log line names "
        "every wrong key.",
        NUMBER,
        Query(grown(ours("reloads_total"), "result"), "{{result}}"),
        look=Look(
            colours=(("refused", RED), ("unchanged", GREY), ("applied", GREEN)),
            decimals=0,
            empty="no gateway",
        ),
    )
    spans = lines(
        "Spans of traces",
        "Spans a second, where tracing is on. `failed`: the collector does not take them; "
        "`dropped`: more than could be sent. Requests are not slowed by either.",
        EVENTS,
        Query(rate(ours("spans_total"), "result"), "{{result}}"),
        look=Look(
            stacked="normal",
            colours=(("exported", GREEN), ("failed", RED), ("dropped", ORANGE)),
            empty="no gateway",
        ),
    )
    redis = timeline(
        "Redis as each replica sees it",
        "Whether every Redis in use answers within its budget. Without it requests go on: no "
        "shared cache, each replica keeps limits alone.",
        (State(0, "down", RED), State(1, "up", GREEN)),
        Query(over("min", ours("redis_up"), "instance"), "{{instance}}"),
        Look(empty="no Redis configured"),
    )
    return line(6, (6, reloads), (8, spans), (10, redis))
