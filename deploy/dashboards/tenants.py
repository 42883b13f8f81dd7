"""Groups of API keys: what they ask, spend and are refused; keys, limits and labels."""

from deploy.dashboards.layout import Board, Section, Variable, line, section
from deploy.dashboards.panels import AnyPanel, Column, Query, bars, lines, number, rows
from deploy.dashboards.queries import GROUP, grown, ours, over, rate, share
from deploy.dashboards.style import (
    DOLLARS,
    EVENTS,
    GREEN,
    GREY,
    NUMBER,
    ORANGE,
    OUTCOMES,
    RED,
    REQUESTS,
    SECONDS,
    SHARE,
    TOKENS,
    YELLOW,
    Look,
)

GROUPS = Variable(
    "group", "Group", 'label_values(entroute_group_requests_total{job=~"$job"}, group)'
)
NAME = "{{group}}"
ASKED = ours("group_requests_total", GROUP)
NOBODY = "no requests"
PILED = Look(stacked="normal", empty=NOBODY)


def board() -> Board:
    """Return the dashboard."""
    return Board(
        uid="entroute-tenants",
        title="Tenants",
        summary="What groups of API keys ask, spend and are refused; keys, limits and labels.",
        sections=(_groups(), _course(), _limits(), _keys(), _labels()),
        variables=(GROUPS,),
    )


def _groups() -> Section:
    asked = grown(ASKED, "group")
    limited = grown(ours("limited_total", GROUP), "group")
    failed = grown(ours("group_requests_total", GROUP, 'outcome="server_error"'), "group")
    cost = grown(ours("group_cost_usd_total", GROUP), "group")
    groups = rows(
        "Groups",
        "Groups are what keys name; `none` are keys without one (or no keys at all), `other` "
        "those from the 51st on. Tenants and keys are never labels: ask `entroute keys "
        "usage`.",
        "group",
        Column("requests", asked, NUMBER, 0),
        Column("failed", share(failed, asked), SHARE, 1),
        Column("limited", share(limited, asked), SHARE, 1),
        Column("tokens", grown(ours("group_tokens_total", GROUP), "group"), NUMBER, 0),
        Column("cost", cost, DOLLARS, 2),
        Column("cost per 1000", f"1000 * {cost} / ({asked} > 0)", DOLLARS, 2),
        look=Look(empty=NOBODY),
    )
    return section("Who uses what? (in the time shown)", line(6, (24, groups)))


def _course() -> Section:
    tokens = rate(ours("group_tokens_total", GROUP), "group", "kind")
    by_outcome = lines(
        "Requests by how they ended",
        "Of the groups that are chosen. `client_error` of one group: its client is broken, or "
        "it is over its limits.",
        REQUESTS,
        Query(rate(ASKED, "outcome"), "{{outcome}}"),
        look=Look(stacked="normal", colours=OUTCOMES, empty=NOBODY),
    )
    tokens_by_group = lines(
        "Tokens by group and kind",
        "Tokens a second over all calls, as the workers count them.",
        TOKENS,
        Query(tokens, "{{group}} {{kind}}"),
        look=PILED,
    )
    cost_per_hour = lines(
        "Cost per hour by group",
        "Dollars an hour at the configured prices, at the pace of each moment.",
        DOLLARS,
        Query(f"3600 * {rate(ours('group_cost_usd_total', GROUP), 'group')}", NAME),
        look=Look(stacked="normal", empty="no priced calls"),
    )
    return section(
        "Over time",
        line(
            8,
            (6, _requests()),
            (6, by_outcome),
            (6, tokens_by_group),
            (6, cost_per_hour),
        ),
    )


def _requests() -> AnyPanel:
    return lines(
        "Requests by group",
        "Requests a second. A group that doubles overnight is a new user, or a loop.",
        REQUESTS,
        Query(rate(ASKED, "group"), NAME),
        look=PILED,
    )


def _limits() -> Section:
    limited = ours("limited_total", GROUP)
    degraded = share(rate(ours("degraded_total", 'part="limits"')), rate(ours("requests_total")))
    refused = lines(
        "Refused by limit and group",
        "429 by the limit that refused; `unavailable` (503) are limits that could not be "
        "asked for, because Redis is away. A month's limit refuses until the month ends.",
        EVENTS,
        Query(rate(limited, "limit", "group"), "{{group}}: {{limit}}"),
        look=Look(stacked="normal", empty="none refused"),
    )
    refused_share = lines(
        "Refused share by group",
        "Of each group's requests. Clients that back off stay low; near 1 one retries in a loop.",
        SHARE,
        Query(share(rate(limited, "group"), rate(ASKED, "group")), NAME),
        look=Look(most=1, steps=((0.5, ORANGE),), empty=NOBODY),
    )
    alone = lines(
        "Requests without shared limits",
        "Share of requests let in while limits could not be shared: each replica counted "
        "alone. Limits may be exceeded as many times as there are replicas.",
        SHARE,
        Query(degraded, "alone"),
        look=Look(steps=((0.001, ORANGE),), empty="no requests"),
    )
    return section(
        "Who is refused?",
        line(
            8,
            (8, refused),
            (6, refused_share),
            (5, _leases()),
            (5, alone),
        ),
    )


def _leases() -> AnyPanel:
    return lines(
        "Slices of limits held",
        "API keys of whose limits each replica holds a slice. 0 at all of them under traffic "
        "of limited keys: Redis gives none.",
        NUMBER,
        Query(over("sum", ours("limit_leases"), "instance"), "{{instance}}"),
        look=Look(empty="no gateway"),
    )


def _keys() -> Section:
    keys_held = number(
        "Keys held",
        "API keys in memory, the most at any replica. A fall to few after a change: a wrong file.",
        NUMBER,
        Query(over("max", ours("keys"), "source"), "{{source}}"),
        Look(empty="no keys asked for", decimals=0),
    )
    age = number(
        "Age of the oldest copy",
        "Seconds since the keys were known to be current. Above 60 revoked keys still work "
        "somewhere: the file or Redis cannot be read.",
        SECONDS,
        Query(over("max", ours("keys_age_seconds")), "age"),
        Look(steps=((10, YELLOW), (60, RED)), empty="no keys asked for"),
    )
    reads = lines(
        "Reads of the keys by result",
        "`failed`: the old keys go on. `garbage`: records that were left out; the log names them.",
        EVENTS,
        Query(rate(ours("key_reloads_total"), "result"), "{{result}}"),
        look=Look(
            stacked="normal",
            empty="no keys asked for",
            colours=(("loaded", GREEN), ("failed", RED), ("garbage", ORANGE)),
        ),
    )
    return section("API keys", line(6, (6, keys_held), (6, age), (12, reads)))


def _labels() -> Section:
    labels = ours("feedback_labels_total")
    fate = (("accepted", GREEN), ("replaced", GREY), ("invalid|foreign|unknown", ORANGE))
    by_result = lines(
        "Labels by what became of them",
        "`accepted` teach. `no_plan`: nothing to learn from. `unknown`: too late or a wrong "
        "id. `foreign`: another tenant's answer, or another profile's.",
        EVENTS,
        Query(rate(labels, "result"), "{{result}}"),
        look=Look(stacked="normal", colours=fate, empty="no feedback"),
    )
    totals = bars(
        "Labels in the time shown",
        "Label all answers or a random share; if clients label only failures, predictions fall.",
        NUMBER,
        Query(grown(labels, "result"), "{{result}}"),
        look=Look(colours=fate, decimals=0, empty="no feedback"),
    )
    lost = number(
        "Labels that could not be kept",
        "A second, all replicas. They teach this process and are lost at its restart: the "
        "file or Redis behind `feedback` fails.",
        EVENTS,
        Query(rate(ours("feedback_store_failures_total")), "lost"),
        Look(steps=((0.001, RED),), empty="no feedback"),
    )
    return section(
        "Labels of how answers turned out",
        line(7, (10, by_result), (8, totals), (6, lost)),
    )
