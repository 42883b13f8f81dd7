"""A table and a figure of what loadtest.capacity found.

python -m loadtest.capacity_report A.json B.json --plot FILE.png
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

_COLUMNS = (
    "arm",
    "fleet",
    "USD per 1000",
    "TTFT p50, p95, p99",
    "whole answer p50, p95, p99",
    "wait p95",
    "batch",
    "cached",
    "`size`: p95 said, simulated",
)


def table(name: str, report: Mapping[str, Any]) -> str:
    """Return one trace's arms as a Markdown table."""
    traffic = report["traffic"]
    what = (
        f"**{name}**: {traffic['requests']} requests at {traffic['requests_per_s']:.1f} a second,"
        f" {traffic['prompt_tokens']:.0f} tokens in, {traffic['completion_tokens']:.0f} out;"
        f" 95% of calls begin within {report['bound_s']:g} s."
    )
    lines = [
        what,
        "",
        f"| {' | '.join(_COLUMNS)} |",
        f"| --- | --- |{' ---: |' * (len(_COLUMNS) - 2)}",
    ]
    lines += [f"| {' | '.join(_cells(arm, row))} |" for arm, row in report["arms"].items()]
    return "\n".join(lines) + "\n"


def _cells(arm: str, row: Mapping[str, Any]) -> Iterator[str]:
    result, size = row["result"], row["size"]
    tiers = result["tiers"].values()
    yield arm
    yield _fleet(row["fleet"])
    yield f"{result['usd_per_thousand']:.3f}"
    first, late, last = (result["ttft"][name] for name in ("p50", "p95", "p99"))
    between = f"{late['value']:.2f} [{late['low']:.2f}, {late['high']:.2f}]"
    yield f"{first['value']:.2f}, {between}, {last['value']:.2f}"
    yield ", ".join(f"{result['e2e'][name]['value']:.1f}" for name in ("p50", "p95", "p99"))
    yield " + ".join(f"{tier['wait_p95']:.2f}" for tier in tiers)
    yield " + ".join(f"{tier['batch']:.0f}" for tier in tiers)
    yield " + ".join(f"{tier['cached']:.2f}" for tier in tiers)
    there = size["simulated"]["tiers"]
    times = (f"{size['ttft_p95'][n]:.2f}, {tier['ttft_p95']:.2f}" for n, tier in there.items())
    yield f"{_fleet(size['fleet'])}: {'; '.join(times)}"


def _fleet(fleet: Mapping[str, int]) -> str:
    return " + ".join(f"{count} {name}" for name, count in fleet.items())


def draw(reports: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Draw the cost of each arm's smallest fleet, by trace; needs matplotlib (extra `plots`)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - an extra
    from matplotlib.figure import Figure  # noqa: PLC0415 - likewise

    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for place, (name, report) in enumerate(reports.items()):
        arms = report["arms"]
        costs = [row["result"]["usd_per_hour"] for row in arms.values()]
        # In shares of always large, so that traces of different rates stand side by side.
        large = arms["large"]["result"]["usd_per_hour"]
        width = 0.8 / len(reports)
        places = [index + (place - (len(reports) - 1) / 2) * width for index in range(len(arms))]
        left.bar(places, [cost / large for cost in costs], width, label=name)
        left.set_xticks(range(len(arms)), list(arms), rotation=20)
        said = [sum(row["size"]["fleet"].values()) for row in arms.values()]
        took = [sum(row["fleet"].values()) for row in arms.values()]
        right.plot(took, said, "o", label=name)
    left.axhline(1, color="grey", linewidth=0.8)
    left.set_ylabel("cost of the smallest fleet / always large")
    left.legend(fontsize="small")
    top = max(right.get_xlim()[1], right.get_ylim()[1])
    right.plot((0, top), (0, top), color="grey", linewidth=0.8)
    right.set_xlabel("workers, smallest fleet by simulation")
    right.set_ylabel("workers, entroute size")
    figure.savefig(path, dpi=110)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables, draw the figure."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.capacity_report")
    parser.add_argument("reports", nargs="+", type=Path, help="of loadtest.capacity")
    parser.add_argument("--plot", type=Path, help="PNG")
    given = parser.parse_args(argv)
    reports = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in given.reports}
    for name, report in reports.items():
        print(table(name, report))
    if given.plot is not None:
        draw(reports, given.plot)


if __name__ == "__main__":
    main()
