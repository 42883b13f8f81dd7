"""What `entroute replay --rule` and `--agreement` do: replay, then print or write a report."""

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import orjson
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from entroute.errors import ConfigurationError
from entroute.evaluation.agreement import CascadeReplay, replay_agreement_rules
from entroute.evaluation.answer_samples import Selection, read_answer_samples
from entroute.evaluation.cascade_curve import CascadeCurve, cascade_curve, curve_json
from entroute.evaluation.quality_report import CurveFigure, Report, Table, render_html
from entroute.evaluation.rule_replay import RuleReplay, RuleSummary, replay_rules, summary
from entroute.evaluation.rule_tables import (
    area_table,
    curve_table,
    curves_figure,
    summary_lines,
    summary_table,
    sweep_figure,
)
from entroute.evaluation.rules import RuleName, rule_named

COST_RATIOS = (20.0, 6.0, 3.0, 2.0)
"""Strong samples' price in weak ones: that of the public pair, and the usual range of a fleet."""

PIPED_WIDTH = 120
"""Columns of a table that no terminal shows."""


def replay_rule(  # noqa: PLR0913 - one argument an option of the command
    rule: RuleName,
    samples: Sequence[Path],
    *,
    seed: int = 0,
    permutations: int = 20,
    level: float | None = None,
    most: int | None = None,
    selection: Selection | None = None,
    as_json: bool = False,
    html: Path | None = None,
) -> None:
    """Replay one stopping rule on files of sampled answers and print what it reaches.

    Args:
        rule: Its name.
        samples: Files, see `answer_samples`.
        seed: Of the random orders and of the bootstrap.
        permutations: Random orders a row.
        level: Of `reasc` and `adaptive`; None is the rule's own.
        most: Cap on a rule's samples; None is as many as a row has.
        selection: Rows to keep; None keeps all.
        as_json: Print one JSON object and nothing else.
        html: Where to write the report with its figures, if anywhere.

    Raises:
        ConfigurationError: A file or an option is wrong, or a page cannot be drawn or written.
    """
    chosen = rule_named(rule, level)
    wanted = selection or Selection()
    rows = read_answer_samples(samples, wanted)
    (result,) = replay_rules(rows, [chosen], seed=seed, permutations=permutations, most=most)
    pooled = summary(result, seed=seed)
    if as_json:
        typer.echo(orjson.dumps(rule_json(pooled)).decode())
    else:
        _print(summary_table("By model", summary_lines(result, pooled, "model", seed)))
        _print(summary_table("By accuracy level", summary_lines(result, pooled, "level", seed)))
    if html is not None:
        command = _command(
            f"--rule={rule}",
            ("--samples", samples),
            ("--level", [] if level is None else [level]),
            ("--most", [] if most is None else [most]),
            ("--model", wanted.models),
            ("--task", wanted.tasks),
            ("--configuration", wanted.configurations),
            ("--permutations", [permutations]),
            ("--seed", [seed]),
        )
        figure = sweep_figure(rule, result, seed=seed, permutations=permutations)
        _write(html, _rule_report(command, result, pooled, figure, seed))


def replay_agreement(  # noqa: PLR0913 - one argument an option of the command
    samples: Sequence[Path],
    weak: str,
    strong: str,
    *,
    tasks: tuple[str, ...] = (),
    weak_configurations: tuple[str, ...] = (),
    strong_configurations: tuple[str, ...] = (),
    ratios: Sequence[float] = COST_RATIOS,
    most: int = 6,
    seed: int = 0,
    permutations: int = 20,
    as_json: bool = False,
    html: Path | None = None,
) -> None:
    """Replay agreement cascades from a weak to a strong model and print quality against cost.

    Args:
        samples: Files that hold both models, see `answer_samples`.
        weak: Model that answers while its samples agree.
        strong: Model that answers else.
        tasks: Tasks to keep; all of them if empty.
        weak_configurations: Words of the weak model's configurations to keep; all if empty.
        strong_configurations: Likewise of the strong model.
        ratios: Prices of a strong sample in weak ones, each above 1.
        most: Weak samples at most, 2 and up.
        seed: Of the random orders, the folds and the bootstrap.
        permutations: Random orders a prompt.
        as_json: Print one JSON object and nothing else.
        html: Where to write the report with its figures, if anywhere.

    Raises:
        ConfigurationError: A file or an option is wrong, or a page cannot be drawn or written.
    """
    below = read_answer_samples(samples, Selection((weak,), tasks, weak_configurations))
    above = read_answer_samples(samples, Selection((strong,), tasks, strong_configurations))
    replay = replay_agreement_rules(
        below, above, samples=most, seed=seed, permutations=permutations
    )
    curves = [cascade_curve(replay, ratio, seed=seed) for ratio in ratios]
    tables = [area_table(curves), *(curve_table(curve) for curve in curves[:1])]
    if as_json:
        typer.echo(orjson.dumps(agreement_json(weak, strong, replay, curves)).decode())
    else:
        for table in tables:
            _print(table)
    if html is not None:
        command = _command(
            "--agreement",
            ("--samples", samples),
            ("--weak", [weak]),
            ("--strong", [strong]),
            ("--task", tasks),
            ("--weak-configuration", weak_configurations),
            ("--strong-configuration", strong_configurations),
            ("--ratio", ratios),
            ("--most", [most]),
            ("--permutations", [permutations]),
            ("--seed", [seed]),
        )
        facts = {
            "Prompts": str(len(replay.prompts)),
            f"{weak} (weak)": f"{replay.weak.mean():.4f} right with one sample",
            f"{strong} (strong)": f"{replay.strong.mean():.4f} right with one sample",
        }
        title = f"Agreement cascade: {weak} to {strong}"
        _write(html, Report(title, command, facts, [curves_figure(curves)], tables))


def rule_json(found: RuleSummary) -> dict[str, Any]:
    """Return the object that `--json` prints.

    `n` counts rows, a prompt under one configuration each; `difference_low` resamples prompts.
    """
    return {
        "rule": found.rule,
        "n": found.n,
        "accuracy": found.accuracy,
        "samples_mean": found.samples_mean,
        "accuracy_all": found.accuracy_all,
        "samples_all": found.samples_all,
        "difference_low": found.difference_low,
    }


def agreement_json(
    weak: str, strong: str, replay: CascadeReplay, curves: Sequence[CascadeCurve]
) -> dict[str, Any]:
    """Return the object that `--json` prints for a cascade; `n` counts prompts."""
    return {
        "weak": weak,
        "strong": strong,
        "n": len(replay.prompts),
        "accuracy_weak": float(replay.weak.mean()),
        "accuracy_strong": float(replay.strong.mean()),
        "curves": [curve_json(curve) for curve in curves],
    }


def _rule_report(
    command: str, result: RuleReplay, pooled: RuleSummary, figure: CurveFigure, seed: int
) -> Report:
    used, there = f"{pooled.samples_mean:.2f}", f"{pooled.samples_all:.2f}"
    return Report(
        title=f"Stopping rule {pooled.rule}: {used} of {there} samples",
        command=command,
        facts={
            "Rows": f"{pooled.n} of {pooled.prompts} prompts",
            "Accuracy": f"{pooled.accuracy:.4f}, {pooled.accuracy_all:.4f} with all samples",
            "Difference": f"{pooled.difference:+.4f}, at least {pooled.difference_low:+.4f} "
            "(one-sided 95% bound)",
        },
        figures=[figure],
        tables=[
            summary_table("By accuracy level", summary_lines(result, pooled, "level", seed)),
            summary_table("By model", summary_lines(result, pooled, "model", seed)),
        ],
    )


def _command(flag: str, *options: tuple[str, Iterable[object]]) -> str:
    """Write the command line that repeats a run: every option once a value."""
    words = (word for name, values in options for value in values for word in (name, str(value)))
    return shlex.join(["entroute", "replay", flag, *words])


def _print(table: Table) -> None:
    shown = RichTable(title=table.title, title_justify="left", caption=table.note)
    shown.caption_justify = "left"
    for at, column in enumerate(table.columns):
        shown.add_column(column, justify="right" if at else "left", no_wrap=True)
    for row in table.rows:
        shown.add_row(*(escape(cell) for cell in row))
    terminal = Console()
    console = terminal if terminal.is_terminal else Console(width=PIPED_WIDTH)
    console.print(shown)


def _write(path: Path, report: Report) -> None:
    page = render_html(report)
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written: {error.strerror}") from error
