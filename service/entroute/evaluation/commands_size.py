"""`entroute size`: replicas and cost of traffic."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
import typer
from rich.console import Console
from rich.table import Table

from entroute.deciding import shipped_profile
from entroute.errors import ConfigurationError
from entroute.evaluation.sizing import Sizing, Supply, alone, size
from entroute.evaluation.sizing_file import SizingSettings, read_sizing
from entroute.evaluation.sizing_mix import needs_of


def register(app: typer.Typer) -> None:
    """Add the command to a command line."""
    app.command("size")(size_command)


def size_command(
    file: Annotated[Path, typer.Argument(help="YAML: traffic, mix, tiers, target, gateway.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say how many workers and gateways traffic takes, and what they cost."""
    report = sized(read_sizing(file), file.parent)
    if as_json:
        typer.echo(orjson.dumps(report, option=orjson.OPT_INDENT_2).decode())
        return
    console = Console()
    for table in (_totals(report), _tiers(report)):
        console.print(table)


def sized(settings: SizingSettings, folder: Path) -> dict[str, Any]:
    """Return the report as JSON has it: the mix, and each tier alone on the same traffic.

    Args:
        settings: What is asked.
        folder: What paths are relative to.

    Raises:
        ConfigurationError: A file cannot be read, or no fleet keeps to the target.
    """
    traffic = settings.traffic.build(folder)
    target, gateway = settings.target.build(), settings.gateway.build()
    supplies = {name: _supply(name, settings, folder) for name in settings.tiers}
    needs = needs_of(settings.mix, shipped_profile(), folder)
    if unknown := sorted(set(needs) - set(supplies)):
        raise ConfigurationError(f"mix: the tier {unknown[0]} is not in tiers")
    needs = {tier: needs[tier] for tier in supplies if tier in needs}
    arms = {"mix": size(traffic, needs, supplies, target, gateway)}
    arms |= {
        f"always {tier}": found for tier, found in alone(traffic, supplies, target, gateway).items()
    }
    return {
        "traffic": {
            "requests_per_s": traffic.rate,
            "prompt_tokens": traffic.lengths.prompt,
            "completion_tokens": traffic.lengths.answer,
        },
        "target": asdict(target),
        "needs": {tier: asdict(need) for tier, need in needs.items()},
        "arms": {name: _row(found) for name, found in arms.items()},
    }


def _supply(name: str, settings: SizingSettings, folder: Path) -> Supply:
    try:
        return settings.tiers[name].build(folder)
    except ConfigurationError as error:
        raise ConfigurationError(f"tiers.{name}.worker: {error}") from error


def _row(found: Sizing) -> dict[str, Any]:
    tiers = {
        name: {
            "replicas": tier.replicas,
            "calls_per_s": tier.calls_per_s,
            "utilisation": tier.utilisation,
            "batch": tier.busy.batch,
            "inter_token_s": tier.busy.token_s,
            "wait_s": tier.wait_s,
            "ttft_s": tier.ttft_s,
            "usd_per_hour": tier.usd_per_hour,
        }
        for name, tier in found.tiers.items()
    }
    return {
        "tiers": tiers,
        "gateways": found.gateways,
        "usd_per_hour": found.usd_per_hour,
        "usd_per_1000_requests": found.usd_per_thousand,
    }


def _totals(report: Mapping[str, Any]) -> Table:
    traffic = report["traffic"]
    table = Table(
        title=f"{traffic['requests_per_s']:.3g} requests a second,"
        f" {traffic['prompt_tokens']:.0f} tokens in, {traffic['completion_tokens']:.0f} out"
    )
    columns = ("", "workers", "gateways", "USD an hour", "USD per 1000 requests")
    for place, name in enumerate(columns):
        table.add_column(name, justify="right" if place else "left", overflow="fold")
    for name, arm in report["arms"].items():
        workers = " + ".join(f"{t['replicas']} {tier}" for tier, t in arm["tiers"].items())
        money = f"{arm['usd_per_hour']:.2f}", f"{arm['usd_per_1000_requests']:.3f}"
        table.add_row(name, workers, str(arm["gateways"]), *money)
    return table


def _tiers(report: Mapping[str, Any]) -> Table:
    share = report["target"]["percentile"]
    table = Table(title="By tier", caption="times in seconds; batch: answers being written")
    columns = (
        "",
        "tier",
        "calls/s",
        "utilisation",
        "batch",
        "a token",
        "wait",
        f"TTFT p{share:.0%}",
    )
    for place, name in enumerate(columns):
        justify: Literal["left", "right"] = "right" if place > 1 else "left"
        table.add_column(name.rstrip("%"), justify=justify, overflow="fold")
    for name, arm in report["arms"].items():
        for tier, row in arm["tiers"].items():
            table.add_row(
                name,
                tier,
                f"{row['calls_per_s']:.2f}",
                f"{row['utilisation']:.0%}",
                f"{row['batch']:.1f}",
                f"{row['inter_token_s']:.4f}",
                f"{row['wait_s']:.3f}",
                f"{row['ttft_s']:.3f}",
            )
    return table
