"""What entropy switching gains over switching at random, with the same share of large tokens.

    python -m loadtest.switch_report --base BASE.jsonl --pair SWITCH.jsonl,RANDOM.jsonl ...

Files are journals of loadtest.quality: the base holds the arms `small` and `large`, a pair the
arms `switch` and `random`. Intervals resample prompts.
"""

import argparse
import json
import random
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from loadtest.client import percentile
from loadtest.intervals import paired_bootstrap, wilson
from loadtest.replay_report import markdown

Row = dict[str, Any]


def rows_of(path: Path, arm: str) -> dict[str, Row]:
    """Return a journal's rows of one arm by prompt, failures left out."""
    lines = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    rows = [row for row in lines if row.get("arm") == arm and not row.get("error")]
    return {row["prompt"]: row for row in rows}


def line_of(name: str, rows: dict[str, Row]) -> Row:
    """Return one arm's accuracy, share of large tokens, hand-overs, tokens, seconds and cost."""
    low, high = wilson(sum(row["right"] for row in rows.values()), len(rows))
    segments = [row.get("segments") or [] for row in rows.values()]
    written = [part for parts in segments for part in parts]
    total = sum(part["tokens"] for part in written)
    large = sum(part["tokens"] for part in written if part["tier"] == "large")
    tiers = {row["tier"] for row in rows.values()}
    latencies = [row["latency_s"] for row in rows.values()]
    return {
        "arm": name,
        "n": len(rows),
        "accuracy": fmean(row["right"] for row in rows.values()),
        "low": low,
        "high": high,
        "large share": large / total if total else float(tiers == {"large"}),
        "hand-overs": fmean(max(0, len(parts) - 1) for parts in segments),
        "reread": fmean(sum(part["reread_tokens"] for part in parts) for parts in segments),
        "tokens": fmean(row["usage"]["completion_tokens"] for row in rows.values()),
        "usd/1000": 1000 * fmean(row["usage"]["cost_usd"] for row in rows.values()),
        "p50 s": percentile(latencies, 0.5),
        "p95 s": percentile(latencies, 0.95),
    }


def gain(switch: dict[str, Row], control: dict[str, Row], rng: random.Random) -> Row:
    """Return accuracy of `switch` minus that of its control, paired by prompt."""
    common = [prompt for prompt in switch if prompt in control]
    pairs = [float(switch[p]["right"]) - float(control[p]["right"]) for p in common]
    low, high = paired_bootstrap(pairs, rng)
    return {"pairs": len(pairs), "difference": fmean(pairs), "low": low, "high": high}


def main(argv: Sequence[str] | None = None) -> None:
    """Print both tables as Markdown."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.switch_report", description=__doc__)
    parser.add_argument("--base", type=Path, required=True, help="journal of small and large")
    parser.add_argument("--pair", action="append", required=True, help="SWITCH,RANDOM journals")
    given = parser.parse_args(argv)
    rng = random.Random(0)
    lines = [line_of(arm, rows_of(given.base, arm)) for arm in ("small", "large")]
    gains: list[Row] = []
    for pair in given.pair:
        first, second = (Path(part) for part in pair.split(","))
        switch, control = rows_of(first, "switch"), rows_of(second, "random")
        lines += [line_of(first.stem, switch), line_of(second.stem, control)]
        gains.append({"arm": first.stem, "minus": second.stem, **gain(switch, control, rng)})
    print(markdown(lines), markdown(gains), sep="\n\n")


if __name__ == "__main__":
    main()
