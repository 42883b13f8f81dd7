"""What the rows of a quality run say: plain numbers, no printing."""

import random
from collections.abc import Sequence
from typing import Any

from loadtest.client import percentile
from loadtest.intervals import paired_bootstrap, wilson

Row = dict[str, Any]
_SPENT = ("prompt_tokens", "cached_tokens", "completion_tokens", "calls", "partial_calls")


def accuracies(rows: Sequence[Row], arms: Sequence[str]) -> list[Row]:
    """Return the share right with its 95% interval, by task and over all, for each arm."""
    tasks = sorted({row["task"] for row in rows})
    table = []
    for task in [*tasks, "all"] if len(tasks) > 1 else tasks:
        for arm in arms:
            mine = [row for row in rows if row["arm"] == arm and task in (row["task"], "all")]
            if mine:
                table.append({"task": task, "arm": arm, **_accuracy(mine)})
    return table


def _accuracy(rows: Sequence[Row]) -> Row:
    right = sum(row["right"] for row in rows)
    low, high = wilson(right, len(rows))
    return {
        "n": len(rows),
        "right": right,
        "accuracy": right / len(rows),
        "low": low,
        "high": high,
        "errors": sum(bool(row.get("error")) for row in rows),
    }


def differences(rows: Sequence[Row], arms: Sequence[str], rng: random.Random) -> list[Row]:
    """Return accuracy differences, paired by prompt, of every other arm to small and large."""
    right = {(row["pass"], row["prompt"], row["arm"]): float(row["right"]) for row in rows}
    bases = [base for base in ("small", "large") if base in arms]
    table = []
    for base in bases:
        for arm in (arm for arm in arms if arm not in bases or (arm, base) == ("large", "small")):
            pairs = [
                value - right[turn, prompt, base]
                for (turn, prompt, name), value in right.items()
                if name == arm and (turn, prompt, base) in right
            ]
            if pairs:
                low, high = paired_bootstrap(pairs, rng)
                named = {"difference": f"{arm} - {base}", "pairs": len(pairs)}
                mean = sum(pairs) / len(pairs)
                table.append({**named, "mean": mean, "low": low, "high": high})
    return table


def over_mixtures(rows: Sequence[Row], arms: Sequence[str], rng: random.Random) -> list[Row]:
    """Return each arm's accuracy less that of a coin between small and large of the same cost.

    The coin sends every prompt to large with probability `share`, in [0, 1], chosen so that its
    mean cost is the arm's. What an arm gains over it is what its decisions are worth.
    """
    if not {"small", "large"} <= set(arms):
        return []
    cost = dict.fromkeys(arms, 0.0)
    for row in rows:
        cost[row["arm"]] += (row.get("usage") or {}).get("cost_usd") or 0.0
    right = {(row["prompt"], row["arm"]): float(row["right"]) for row in rows}
    table = []
    for arm in (arm for arm in arms if arm not in {"small", "large"}):
        share = (cost[arm] - cost["small"]) / ((cost["large"] - cost["small"]) or 1.0)
        share = min(1.0, max(0.0, share))
        gains = [
            value - (1 - share) * right[prompt, "small"] - share * right[prompt, "large"]
            for (prompt, name), value in right.items()
            if name == arm and {(prompt, "small"), (prompt, "large")} <= right.keys()
        ]
        if gains:
            low, high = paired_bootstrap(gains, rng)
            named = {"arm": arm, "share": share, "pairs": len(gains)}
            table.append({**named, "gain": sum(gains) / len(gains), "low": low, "high": high})
    return table


def spending(rows: Sequence[Row], arms: Sequence[str]) -> list[Row]:
    """Return tokens, calls and cost in USD by arm, tier and purpose."""
    table: dict[tuple[str, str, str], Row] = {}
    for row in rows:
        for part in (row.get("usage") or {}).get("by") or ():
            key = (row["arm"], str(part.get("tier")), str(part.get("purpose")))
            names = dict(zip(("arm", "tier", "purpose"), key, strict=True))
            total = table.setdefault(key, {**names, **dict.fromkeys(_SPENT, 0), "cost_usd": 0.0})
            for name in (*_SPENT, "cost_usd"):
                total[name] += part.get(name) or 0
    return sorted(table.values(), key=lambda row: (arms.index(row["arm"]), row["tier"]))


def behaviours(rows: Sequence[Row], arms: Sequence[str]) -> list[Row]:
    """Return, for each arm, latency in seconds, cost in USD and the share handed to `large`."""
    table = []
    for arm in arms:
        mine = [row for row in rows if row["arm"] == arm and not row.get("error")]
        if mine:
            table.append({"arm": arm, "n": len(mine), **_behaviour(mine)})
    return table


def _behaviour(rows: Sequence[Row]) -> Row:
    latencies = [row["latency_s"] for row in rows]
    usages = [row.get("usage") or {} for row in rows]
    return {
        "p50_s": percentile(latencies, 0.5),
        "p95_s": percentile(latencies, 0.95),
        "cost_usd": sum(usage.get("cost_usd") or 0.0 for usage in usages),
        "completion_tokens": sum(usage.get("completion_tokens") or 0 for usage in usages),
        "on_large": sum(row.get("tier") == "large" for row in rows) / len(rows),
        "escalated": sum(row.get("stop_reason") == "escalated" for row in rows) / len(rows),
    }


def cache_use(rows: Sequence[Row], arms: Sequence[str]) -> list[Row]:
    """Return how often each pass of each arm met each state of the cache."""
    table: dict[tuple[int, str], Row] = {}
    for row in rows:
        names = {"pass": row["pass"], "arm": row["arm"]}
        counts = table.setdefault((row["pass"], row["arm"]), {**names, "n": 0})
        state = row.get("cache") or "none"
        counts["n"] += 1
        counts[state] = counts.get(state, 0) + 1
    return sorted(table.values(), key=lambda row: (row["pass"], arms.index(row["arm"])))


def counter_check(rows: Sequence[Row], tiers: Sequence[str]) -> list[Row]:
    """Hold workers' counters against reported usage, per tier, in tokens.

    Only requests without a partial call are compared: a cancelled call's tokens are estimates.
    llama.cpp counts a prompt without its cached tokens, vLLM with them: compare the fitting line.
    """
    whole = [
        row
        for row in rows
        if row.get("counted") and not (row.get("usage") or {}).get("partial_calls")
    ]
    return [line for tier in tiers for line in _counter_lines(whole, tier)]


def _counter_lines(rows: Sequence[Row], tier: str) -> list[Row]:
    parts = [
        part
        for row in rows
        for part in (row.get("usage") or {}).get("by") or ()
        if part.get("tier") == tier
    ]
    reported = {name: sum(part.get(name) or 0 for part in parts) for name in _SPENT}
    counted = {
        kind: sum(row["counted"][tier][kind] for row in rows) for kind in ("prompt", "completion")
    }
    uncached = reported["prompt_tokens"] - reported["cached_tokens"]
    lines = [
        ("prompt", reported["prompt_tokens"], counted["prompt"]),
        ("prompt, cached left out", uncached, counted["prompt"]),
        ("completion", reported["completion_tokens"], counted["completion"]),
    ]
    return [
        {
            "tier": tier,
            "tokens": name,
            "requests": len(rows),
            "gateway": told,
            "worker": made,
            "difference": told - made,
        }
        for name, told, made in lines
    ]
