"""The table of a replay: accuracy with its interval beside everything that was spent.

    python -m loadtest.replay_report ROWS.jsonl --seconds-per-token small=.0077,large=.021

Accuracy is the mean over prompts of the mean over repeats; intervals resample prompts. Worker
seconds are completion tokens at a worker's pace when its batch is full, which is how the bank was
recorded; latency is what that load made of single samples.
"""

import argparse
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.table import Table

from loadtest.client import percentile
from loadtest.intervals import paired_bootstrap

Row = dict[str, Any]
RESAMPLES = 2000
_TIERS = ("small", "large")


def by_prompt(rows: Iterable[Row]) -> dict[str, float]:
    """Return the share right of each prompt's repeats."""
    seen: dict[str, list[float]] = {}
    for row in rows:
        seen.setdefault(row["prompt"], []).append(float(row["right"]))
    return {prompt: fmean(values) for prompt, values in seen.items()}


def paces(text: str) -> dict[str, float]:
    """Return the seconds a token of every tier from `tier=seconds,...`.

    Raises:
        SystemExit: A tier is missing or no number is given for it.
    """
    pairs = [part.partition("=") for part in text.split(",")]
    try:
        pace = {tier.strip(): float(seconds) for tier, _, seconds in pairs}
    except ValueError as error:
        raise SystemExit(f"--seconds-per-token: give tier=seconds,...: {error}") from error
    if absent := [tier for tier in _TIERS if tier not in pace]:
        raise SystemExit(f"--seconds-per-token: give {absent[0]}=SECONDS, too")
    return pace


def table(rows: Sequence[Row], pace: Mapping[str, float], rng: random.Random) -> list[Row]:
    """Return one line an arm and task: accuracy, samples, tokens, seconds, latency, dollars."""
    lines: list[Row] = []
    for task in dict.fromkeys(row["task"] for row in rows):
        for arm in dict.fromkeys(row["arm"] for row in rows):
            mine = [row for row in rows if (row["task"], row["arm"]) == (task, arm)]
            if mine:
                lines.append({"task": task, "arm": arm, **_line(mine, pace, rng)})
    return lines


def _line(rows: Sequence[Row], pace: Mapping[str, float], rng: random.Random) -> Row:
    shares = list(by_prompt(rows).values())
    low, high = paired_bootstrap(shares, rng, resamples=RESAMPLES)
    tokens = {tier: fmean(_tokens(row, tier) for row in rows) for tier in _TIERS}
    latencies = [row["latency_s"] for row in rows]
    return {
        "n": len(shares),
        "accuracy": fmean(shares),
        "low": low,
        "high": high,
        "calls": fmean(row["calls"] for row in rows),
        **{f"tokens {tier}": tokens[tier] for tier in _TIERS},
        "discarded": fmean(_of_purpose(row, "discarded") for row in rows),
        "worker s": sum(tokens[tier] * pace[tier] for tier in _TIERS),
        "p50 s": percentile(latencies, 0.5),
        "p95 s": percentile(latencies, 0.95),
        "usd/1000": 1000 * fmean(row["usd"] for row in rows),
    }


def _tokens(row: Row, tier: str) -> int:
    return sum(count for key, count in row["tokens"].items() if key.startswith(f"{tier} "))


def _of_purpose(row: Row, purpose: str) -> int:
    return sum(count for key, count in row["tokens"].items() if key.endswith(f" {purpose}"))


def differences(rows: Sequence[Row], base: str, rng: random.Random) -> list[Row]:
    """Return accuracy minus that of the arm `base`, paired by prompt, task by task."""
    lines: list[Row] = []
    for task in dict.fromkeys(row["task"] for row in rows):
        mine = [row for row in rows if row["task"] == task]
        theirs = by_prompt(row for row in mine if row["arm"] == base)
        for arm in dict.fromkeys(row["arm"] for row in mine if row["arm"] != base):
            ours = by_prompt(row for row in mine if row["arm"] == arm)
            pairs = [ours[prompt] - theirs[prompt] for prompt in ours if prompt in theirs]
            if pairs:
                compared = {"task": task, "arm": arm, "minus": base}
                lines.append(compared | _difference(pairs, rng))
    return lines


def _difference(pairs: Sequence[float], rng: random.Random) -> Row:
    low, high = paired_bootstrap(pairs, rng, resamples=RESAMPLES)
    return {"n": len(pairs), "difference": fmean(pairs), "low": low, "high": high}


def markdown(lines: Sequence[Row]) -> str:
    """Return lines as a Markdown table."""
    names = list(lines[0])
    rows = [[_cell(line[name]) for name in names] for line in lines]
    return "\n".join(
        "| " + " | ".join(cells) + " |" for cells in [names, ["---"] * len(names), *rows]
    )


def _cell(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.0f}"


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables and write them beside the rows."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.replay_report", description=__doc__)
    parser.add_argument("rows", type=Path, nargs="+", help="rows of loadtest.replay, .jsonl")
    parser.add_argument("--seconds-per-token", required=True, help="tier=seconds,... at full batch")
    parser.add_argument("--base", action="append", default=None, help="arms to compare with")
    given = parser.parse_args(argv)
    rows = [json.loads(line) for path in given.rows for line in path.read_text().splitlines()]
    pace = paces(given.seconds_per_token)
    rng = random.Random(0)
    lines = table(rows, pace, rng)
    compared = [d for base in given.base or () for d in differences(rows, base, rng)]
    console = Console(width=max(160, Console().width))
    for title, part in (("replayed", lines), ("paired differences", compared)):
        if part:
            console.print(_rich(title, part))
    text = "\n\n".join(markdown(part) for part in (lines, compared) if part)
    given.rows[0].with_suffix(".md").write_text(f"{text}\n", encoding="utf-8")


def _rich(title: str, lines: Sequence[Row]) -> Table:
    made = Table(*lines[0], title=title)
    for line in lines:
        made.add_row(*(_cell(value) for value in line.values()))
    return made


if __name__ == "__main__":
    main()
