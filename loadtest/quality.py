"""How right answers are and what they cost: `python -m loadtest.quality --help`.

Sends checkable prompts through a running gateway, the arms interleaved, and prints accuracy,
paired differences, tokens by tier and purpose, escalations, latency and use of the cache.
"""

import argparse
import asyncio
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from loadtest import quality_summary as summary
from loadtest.asking_gateway import ARMS, Manner
from loadtest.journal import Journal
from loadtest.quality_run import Run, run_quality
from loadtest.tasks import Prompt, load

_OUT = Path("loadtest/results/quality.json")


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.quality", description=__doc__)
    option = parser.add_argument
    option(
        "--gateway",
        default="http://127.0.0.1:8080",
        help="its address, without /v1; several, by commas, take passes in turn",
    )
    option("--api-key", help="sent as a bearer token")
    option("--gsm8k", type=Path, help="GSM8K rows, .jsonl.gz")
    option("--humaneval", type=Path, help="HumanEval rows, .jsonl.gz")
    option("--n-gsm8k", type=int, default=60)
    option("--n-humaneval", type=int, default=40)
    option("--seed", type=int, default=0, help="of the order of prompts")
    option("--skip", type=int, default=0, help="leave out the first prompts of each file")
    option("--arms", type=_arms, default="small,large,auto", help=f"of {', '.join(ARMS)}")
    option("--passes", type=int, default=1, help="ask everything so many times")
    option("--cache", choices=("bypass", "default", "refresh", "force"), default="bypass")
    option("--max-tokens", type=int, default=400, help="of the delivered answer")
    option("--concurrency", type=int, default=1, help="prompts in flight")
    option("--timeout-s", type=float, default=600.0, help="for one request")
    option("--check-counters", default="", help="URL_SMALL,URL_LARGE: compare with usage")
    option("--out", type=Path, default=_OUT, help="rows as they come; an old run goes on")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure accuracy and cost of a running gateway, arm against arm."""
    given = arguments(argv)
    prompts = _prompts(given)
    if not prompts:
        raise SystemExit("name at least one of --gsm8k and --humaneval, with rows to ask")
    urls = [url for url in given.check_counters.split(",") if url]
    run = Run(
        [
            Manner(gateway, given.max_tokens, given.cache, given.api_key)
            for gateway in given.gateway.split(",")
        ],
        prompts,
        given.arms,
        given.passes,
        given.concurrency,
        dict(zip(("small", "large"), urls, strict=False)),
        given.timeout_s,
    )
    journal = Journal(given.out, {"max_tokens": given.max_tokens, "cache": given.cache})
    asyncio.run(run_quality(run, journal))
    asked = {prompt.id for prompt in prompts}
    rows = [
        row
        for row in journal.rows()
        if row["prompt"] in asked and row["arm"] in given.arms and row["pass"] <= given.passes
    ]
    _report(rows, run, given.seed, given.out)


def _report(rows: list[dict[str, Any]], run: Run, seed: int, out: Path) -> None:
    arms, rng = run.arms, random.Random(seed)
    # A greedy answer asked twice is one observation: later passes are for the cache alone.
    first = [row for row in rows if row["pass"] == 1]
    parts = {
        "accuracy (95% Wilson)": summary.accuracies(first, arms),
        "paired differences (95% bootstrap)": summary.differences(first, arms, rng),
        "against mixing small and large at equal cost": summary.over_mixtures(first, arms, rng),
        "spent, by tier and purpose": summary.spending(first, arms),
        "behaviour": summary.behaviours(first, arms),
        "cache": summary.cache_use(rows, arms),
        "counters of requests without partial calls": summary.counter_check(rows, [*run.workers]),
    }
    console = Console(width=max(Console().width, 120))
    for title, table in parts.items():
        if table:
            console.print(_table(title, table))
    errors = [row["error"] for row in rows if row.get("error")]
    for error in errors[:5]:
        console.print(f"failed: {error}", style="red", markup=False)
    path = out.with_suffix(".summary.json")
    path.write_text(json.dumps(parts, indent=1) + "\n", encoding="utf-8")
    console.print(f"rows: {out}   summary: {path}")


def _table(title: str, rows: list[dict[str, Any]]) -> Table:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = Table(title=title, title_justify="left")
    for name in columns:
        numeric = all(isinstance(row.get(name, 0), int | float) for row in rows)
        table.add_column(name, justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*(_cell(row.get(name, 0)) for name in columns))
    return table


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _arms(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in ARMS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown} is none of {', '.join(ARMS)}")
    return names


def _prompts(given: argparse.Namespace) -> list[Prompt]:
    prompts: list[Prompt] = []
    if given.gsm8k is not None:
        prompts += load(given.gsm8k, "gsm8k", count=given.n_gsm8k, seed=given.seed, skip=given.skip)
    if given.humaneval is not None:
        prompts += load(
            given.humaneval, "humaneval", count=given.n_humaneval, seed=given.seed, skip=given.skip
        )
    random.Random(given.seed).shuffle(prompts)
    return prompts


if __name__ == "__main__":
    main()
