"""The workers: what the gateway thinks of each, and what their engines say of themselves."""

from deploy.dashboards.layout import Board, Section, Variable, line, section
from deploy.dashboards.panels import AnyPanel, Query, State, bars, lines, names, timeline
from deploy.dashboards.queries import TIER, grown, ours, over, quantile, rate, share
from deploy.dashboards.style import (
    EVENTS,
    GREEN,
    GREY,
    NUMBER,
    ORANGE,
    RED,
    SECONDS,
    SHARE,
    YELLOW,
    Look,
)
from deploy.dashboards.workers_engine import engine, engine_times

WORKER = "{{tier}} {{worker}}"
BOTH = ("tier", "worker")
NONE = "no workers"
ENDINGS = tuple(
    (
        (f".* ({results})", colour)
        for results, colour in (
            ("ok|won", GREEN),
            ("failed", RED),
            ("budget|no_room", YELLOW),
            ("lost|no_worker", GREY),
        )
    )
)
"Colours of how retries and hedges end, after the name of a tier."
TIERS = Variable("tier", "Tier", 'label_values(entroute_worker_up{job=~"$job"}, tier)')
MODELS = Variable("model_name", "Model", "label_values(vllm:num_requests_running, model_name)")


def board() -> Board:
    """Return the dashboard."""
    return Board(
        uid="entroute-workers",
        title="Workers",
        summary="Which workers can be called, what calls at them do, and how their engines fare.",
        sections=(_callable(), _calls(), _again(), engine(), engine_times()),
        variables=(TIERS, MODELS),
    )


def _callable() -> Section:
    healthy = over("min", ours("worker_up", TIER), *BOTH)
    healthy_share = names(
        "Healthy share by tier",
        "Workers that every replica finds healthy, of those it knows. Below 1: see Health for "
        "which one; 0: the tier is down.",
        SHARE,
        Query(over("avg", healthy, "tier"), "{{tier}}"),
        Look(steps=((0.5, ORANGE), (1, GREEN)), below=RED, empty=NONE),
    )
    first = line(5, (8, healthy_share), (8, _breakers_opened()), (8, _ejections()))
    health = timeline(
        "Health",
        "Red: the last health sweep, or a call, of at least one replica found nobody there, "
        "the wrong model, or our key refused.",
        (State(0, "down", RED), State(1, "up", GREEN)),
        Query(healthy, WORKER),
        Look(empty=NONE),
    )
    breakers = timeline(
        "Breakers",
        "The worst state at any replica. Red: calls fail and are kept away; yellow: the next "
        "call is the trial. A sweep never closes a breaker, a good answer does.",
        (State(0, "closed", GREEN), State(1, "half open", YELLOW), State(2, "open", RED)),
        Query(over("max", ours("worker_breaker_state", TIER), *BOTH), WORKER),
        Look(empty=NONE),
    )
    ejected = timeline(
        "Ejected",
        "Orange: at least one replica leaves the worker aside, since it does worse than its "
        "peers. It returns after 30 s, longer each time.",
        (State(0, "in", GREEN), State(1, "ejected", ORANGE)),
        Query(over("max", ours("worker_ejected", TIER), *BOTH), WORKER),
        Look(empty=NONE),
    )
    second = line(8, (8, health), (8, breakers), (8, ejected))
    return section("Who can be called?", first, second)


def _breakers_opened() -> AnyPanel:
    return bars(
        "Breakers opened in the time shown",
        "More than three times in ten minutes is flapping: the worker answers its health "
        "check and fails calls.",
        NUMBER,
        Query(grown(ours("breaker_opened_total", TIER), *BOTH), WORKER),
        look=Look(steps=((1, ORANGE), (4, RED)), decimals=0, empty=NONE),
    )


def _ejections() -> AnyPanel:
    return bars(
        "Ejections in the time shown",
        "Workers set aside because they fail clearly more often, or are three times slower, "
        "than the others of their tier.",
        NUMBER,
        Query(grown(ours("ejections_total", TIER), "tier", "reason"), "{{tier}}: {{reason}}"),
        look=Look(steps=((1, ORANGE),), decimals=0, empty="none ejected"),
    )


def _calls() -> Section:
    wait = ours("queue_wait_seconds_bucket", TIER)
    weight = lines(
        "Weight by worker",
        "Share of its usual calls that a worker takes, the least at any replica. It rises to "
        "1 after it comes back; one that stays below keeps failing.",
        SHARE,
        Query(over("min", ours("worker_weight", TIER), *BOTH), WORKER),
        look=Look(most=1, empty=NONE),
    )
    waiting = lines(
        "Calls that wait",
        "Calls for which no worker of the tier has room, over all replicas. Above 0 for "
        "minutes: add workers, or raise `max_in_flight` to the engines' `max_num_seqs`.",
        NUMBER,
        Query(over("sum", ours("queue_depth", TIER), "tier"), "{{tier}}"),
        look=Look(stacked="normal", empty=NONE),
    )
    queue_time = lines(
        "Time in the queue, p95",
        "Of the calls that had to wait. Near `queue.timeout_s` calls begin to be refused.",
        SECONDS,
        Query(quantile(0.95, wait, "tier"), "{{tier}}"),
        look=Look(empty="none waited"),
    )
    return section(
        "What calls do",
        line(8, (6, _in_flight()), (6, weight), (6, waiting), (6, queue_time)),
    )


def _in_flight() -> AnyPanel:
    return lines(
        "Calls in flight by worker",
        "Calls of all replicas. Uneven without a reason (weight, prefixes): the balancer sees "
        "no load; at `max_in_flight` further calls wait.",
        NUMBER,
        Query(over("sum", ours("worker_inflight", TIER), *BOTH), WORKER),
        look=Look(stacked="normal", empty=NONE),
    )


def _again() -> Section:
    attempts = ours("upstream_attempts_total", TIER)
    failed = ours("upstream_attempts_total", TIER, 'outcome!~"ok|WorkerRejected|DeadlineExceeded"')
    by_outcome = lines(
        "Attempts by outcome",
        "Calls at workers, retries among them. Clients see few of the failures: another "
        "worker is asked. `WorkerTimeout` is a hung engine, `WorkerBusy` a full one.",
        EVENTS,
        Query(rate(attempts, "outcome"), "{{outcome}}"),
        look=Look(
            stacked="normal",
            empty="no calls",
            colours=(("ok", GREEN), ("Worker(Failed|ProtocolError)", RED)),
        ),
    )
    failed_share = lines(
        "Failed attempts by tier",
        "Share of attempts that failed by the worker's fault: 4xx and clients' deadlines aside. "
        "Above a few percent "
        "retries cost more than they help.",
        SHARE,
        Query(share(rate(failed, "tier"), rate(attempts, "tier")), "{{tier}}"),
        look=Look(steps=((0.05, ORANGE),), empty="no calls"),
    )
    first = line(8, (8, by_outcome), (8, failed_share), (8, _searches()))
    hedges = lines(
        "Hedges",
        "Second calls for one answer. `won`: they were faster; `lost`: paid in vain; "
        "`budget`, `no_room`, `no_worker`: not made. Mostly lost: raise `hedge_after_ms`.",
        EVENTS,
        Query(rate(ours("hedges_total", TIER), "tier", "result"), "{{tier}} {{result}}"),
        look=Look(stacked="normal", empty="not configured", colours=ENDINGS),
    )
    second = line(8, (12, _retries()), (12, hedges))
    return section("What fails, and is tried again", first, second)


def _retries() -> AnyPanel:
    return lines(
        "Retries",
        "Attempts after a failed one. `budget`: not made, because retries would be a storm; "
        "then errors reach clients.",
        EVENTS,
        Query(rate(ours("retries_total", TIER), "tier", "result"), "{{tier}} {{result}}"),
        look=Look(stacked="normal", empty="none needed", colours=ENDINGS),
    )


def _searches() -> AnyPanel:
    return lines(
        "Searches that found no workers",
        "Look-ups of a tier's workers (DNS, Kubernetes) that failed, a second. Known workers "
        "stay meanwhile; new ones are not seen.",
        EVENTS,
        Query(rate(ours("discovery_failures_total", TIER), "tier"), "{{tier}}"),
        look=Look(stacked="normal", empty="no discovery"),
    )
