"""Prints what the bench measured, each number held against asking the worker directly."""

from typing import Any

from rich.console import Console
from rich.table import Table


def print_report(console: Console, results: dict[str, Any]) -> None:
    """Print a table for whole answers, one for streams, and the gateway's memory."""
    console.print(_whole(results["whole"]))
    console.print(_streams(results["streams"]))
    memory = results["memory"]
    console.print(
        f"gateway memory: {memory['idle_mb']:.0f} MB idle, {memory['loaded_mb']:.0f} MB after load"
    )


def _whole(rows: list[dict[str, Any]]) -> Table:
    table = _table(
        "whole answers",
        ("requests/s", "of direct", "p50 us", "p99 us", "added p50 us", "CPU us/request"),
    )
    for row in rows:
        direct = _direct(rows, row["concurrency"])
        table.add_row(
            str(row["concurrency"]),
            row["mode"],
            f"{row['requests_per_s']:,.0f}",
            f"{row['requests_per_s'] / direct['requests_per_s']:.2f}",
            f"{row['p50_us']:,.0f}",
            f"{row['p99_us']:,.0f}",
            f"{row['p50_us'] - direct['p50_us']:,.0f}",
            _unless_direct(row, f"{row['cpu_us_per_request']:,.0f}"),
        )
    return table


def _streams(rows: list[dict[str, Any]]) -> Table:
    table = _table(
        "paced streams", ("TTFT p50 us", "added TTFT us", "added total us", "CPU us/chunk")
    )
    for row in rows:
        direct = _direct(rows, row["concurrency"])
        table.add_row(
            str(row["concurrency"]),
            row["mode"],
            f"{row['ttft_us']:,.0f}",
            f"{row['ttft_us'] - direct['ttft_us']:,.0f}",
            f"{row['p50_us'] - direct['p50_us']:,.0f}",
            _unless_direct(row, f"{row['cpu_us_per_chunk']:,.1f}"),
        )
    return table


def _table(title: str, numbers: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("in flight", justify="right", no_wrap=True)
    table.add_column("way", no_wrap=True)
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _unless_direct(row: dict[str, Any], text: str) -> str:
    return "-" if row["mode"] == "direct" else text


def _direct(rows: list[dict[str, Any]], concurrency: int) -> dict[str, Any]:
    return next(
        row for row in rows if row["concurrency"] == concurrency and row["mode"] == "direct"
    )
