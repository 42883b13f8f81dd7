"""Whether tokens told to clients, counted by the gateway and made by workers agree."""

import re
from collections.abc import Mapping, Sequence

import aiohttp

from loadtest.chaos_checks import Check, Evidence
from loadtest.chaos_client import Asked
from loadtest.chaos_text import Reading, tokens_of

_SERIES = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_WORK = ("requests_in_flight", "worker_inflight", "queue_depth")

Series = Sequence[tuple[str, Mapping[str, str], float]]
"""Metric name without prefix, labels, value."""


async def scraped(session: aiohttp.ClientSession, gateway: str) -> Series:
    """Return all series of a gateway."""
    url, headers = f"{gateway}/metrics", {"connection": "close"}  # it looks for open ones
    async with session.get(url, headers=headers) as answer:
        text = await answer.text()
    found = (_SERIES.match(line) for line in text.splitlines())
    return [
        (one[1].removeprefix("entroute_"), dict(_LABEL.findall(one[2] or "")), float(one[3]))
        for one in found
        if one is not None
    ]


def summed(series: Series, name: str, **labels: str) -> float:
    """Return the sum of a metric over the series that have these labels."""
    return sum(
        value for metric, have, value in series if metric == name and labels.items() <= have.items()
    )


def in_flight(series: Series) -> dict[str, float]:
    """Return what a gateway says it is doing, by metric."""
    return {name: summed(series, name) for name in _WORK}


def check_usage(
    evidence: Evidence, readings: Mapping[str, Reading], before: Series, after: Series
) -> Check:
    """Check that usage told is what was delivered, and that nobody counts more than was made.

    Of every whole answer made for this request the usage tells the tokens delivered. The gateway's
    counter holds at least what clients were told, and at most what workers set out to make; where
    every client was told, both are equal.
    """
    whole = [asked for asked in evidence.asked if asked.whole]
    wrong = [problem for asked in whole for problem in _miscounted(asked, readings[asked.id])]
    told = sum(_spent(asked) for asked in whole)
    name = "tokens_total"
    counted = summed(after, name, kind="completion") - summed(before, name, kind="completion")
    untold = len(evidence.asked) - len(whole)
    made = sum(sent.total if sent.end == "killed" else sent.made for sent in evidence.sent.values())
    fits = told <= counted <= made and (untold > 0 or told == counted)
    return Check(
        "usage told is what was delivered; told <= counted by the gateway <= made by workers",
        not wrong and fits,
        f"completion tokens: {told} told by {len(whole)} answers, {counted:.0f} counted, {made} "
        f"made ({untold} requests were told none); {len(wrong)} answers miscounted",
        tuple(wrong),
    )


def _spent(asked: Asked) -> int:
    spent = (asked.usage or {}).get("entroute") or {}
    return int(spent.get("completion_tokens", 0))


def _miscounted(asked: Asked, reading: Reading) -> list[str]:
    if asked.usage is None:
        return [f"{asked.id}: no usage was told"]
    told, delivered = asked.usage["completion_tokens"], tokens_of(asked.text)
    if told == delivered or reading.wrong:
        return []
    return [f"{asked.id} ({asked.strategy}): {told} tokens told, {delivered} delivered"]
