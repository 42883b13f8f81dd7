"""`entroute route-eval`: how well the text of a prompt routes between two models."""

from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Table
from typer.core import TyperCommand

from entroute.evaluation.route_eval import (
    Interval,
    RouteReport,
    as_row,
    evaluate,
    mean_within,
)

_SEVERAL = "--fit"


class _SeveralFiles(TyperCommand):
    """Lets one --fit take several files: `--fit a b` is read as `--fit a --fit b`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        spread: list[str] = []
        inside, taken = False, 0
        for word in args:
            if word.startswith("-"):
                inside, taken = word == _SEVERAL, 0
            elif inside:
                spread += [_SEVERAL] if taken else []
                taken += 1
            spread.append(word)
        return super().parse_args(ctx, spread)


def register(app: typer.Typer) -> None:
    """Add the command to an application."""
    app.command("route-eval", cls=_SeveralFiles)(route_eval)


def route_eval(  # noqa: PLR0913, PLR0917 - one a command-line option
    fit: Annotated[
        list[Path],
        typer.Option("--fit", help="Files of outcomes to learn from: one --fit takes several."),
    ],
    on: Annotated[Path, typer.Option("--on", help="File to judge on; cross-fitted if also fit.")],
    weak: Annotated[str, typer.Option(help="Name of the cheap model in `score`.")],
    strong: Annotated[str, typer.Option(help="Name of the dear model in `score`.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    seed: Annotated[int, typer.Option(help="Of folds and bootstrap.")] = 0,
    folds: Annotated[int, typer.Option(min=2, help="Of the cross-fit.")] = 5,
) -> None:
    """Learn to route from outcomes and score it by RouteLLM's metric."""
    report = evaluate(fit, on, weak, strong, seed=seed, folds=folds)
    if json:
        typer.echo(orjson.dumps(as_row(report)).decode())
        return
    console = Console()
    for table in (_routers(report), _by_task(report), _hull(report)):
        console.print(table)


def _routers(report: RouteReport) -> Table:
    how = "cross-fitted" if report.cross_fitted else "prompts that no fit has seen"
    table = Table(
        title=f"{report.n} prompts, {how}: weak {report.weak:.3f}, strong {report.strong:.3f}",
        caption="CPT: least share of prompts for the strong model that recovers so much of the gap",
    )
    for name in ("router", "APGR", "95% interval", "CPT50", "CPT80"):
        table.add_column(name, justify="left" if name == "router" else "right")
    table.add_row("random", ".500", "", "50.0%", "80.0%")
    table.add_row("length", *_cells(report.length))
    table.add_row("learned", *_cells(report.router), _percent(report.cpt50), _percent(report.cpt80))
    table.add_row("learned - length, paired", *_cells(report.difference))
    table.add_row("learned, within tasks", f"{mean_within(report):.3f}")
    table.add_row("oracle", f"{report.oracle:.3f}")
    return table


def _by_task(report: RouteReport) -> Table:
    table = Table(title="By task; routed: the strong model answers half of all prompts")
    for name in ("task", "n", "weak", "strong", "routed", "strong share", "APGR within"):
        table.add_column(name, justify="left" if name == "task" else "right")
    for group in report.groups:
        means = (group.weak, group.strong, group.routed, group.strong_share, group.apgr)
        table.add_row(group.name or "-", str(group.n), *(f"{mean:.3f}" for mean in means))
    return table


def _hull(report: RouteReport) -> Table:
    table = Table(title="Cost-quality hull; unit: one mean answer of the strong model")
    table.add_column("cost", justify="right")
    table.add_column("mean score", justify="right")
    for cost, quality in report.hull:
        table.add_row(f"{cost:.3f}", f"{quality:.3f}")
    return table


def _cells(found: Interval) -> tuple[str, str]:
    return f"{found.value:.3f}", f"{found.low:.3f} to {found.high:.3f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
