"""`entroute replay`: what rules and plans would have done, on recorded answers."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table as Drawn

from entroute.errors import ConfigurationError
from entroute.evaluation.answer_samples import Selection
from entroute.evaluation.bank_arms import arms_of
from entroute.evaluation.bank_report import arms_json, bank_report
from entroute.evaluation.calibrating import measures_of
from entroute.evaluation.commands_calibrate import (
    AlphaOption,
    BatchOption,
    DeltaOption,
    EpisodesOption,
    RepeatsOption,
    RuntimeOption,
    SeedOption,
    VotesOption,
    command_line,
    opened,
    runtimes_of,
)
from entroute.evaluation.commands_rules import COST_RATIOS, replay_agreement, replay_rule
from entroute.evaluation.gate_fit import Risk
from entroute.evaluation.quality_report import Report, render_html
from entroute.evaluation.rules import RuleName
from entroute.evaluation.studying import Manner, crossfitted

RATIOS = (2.0, 3.0, 6.0)
"""Cost ratios between the tiers at which figures are published."""

COSTS = (0.5, 0.75, 1.0, 1.5)
"""Mean costs at which arms are compared, in large answers; the first is the primary one."""

SamplesOption = Annotated[
    list[Path] | None, typer.Option("--samples", help="Answers and their correctness, for --rule.")
]
TaskOption = Annotated[list[str] | None, typer.Option("--task", help="Keep these tasks.")]
RatioOption = Annotated[
    list[float] | None,
    typer.Option("--ratio", min=1, help="Cost ratios between the tiers; 2, 3 and 6 by default."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
HtmlOption = Annotated[
    Path | None, typer.Option("--html", help="Write a report with its curves on one page.")
]


def register(app: typer.Typer) -> None:
    """Add `replay` to a command line."""
    app.command("replay")(replay)


def replay(  # noqa: PLR0913 - options of a command line
    *,
    rule: Annotated[
        RuleName | None, typer.Option("--rule", help="A stopping rule, on --samples.")
    ] = None,
    agreement: Annotated[
        bool, typer.Option("--agreement", help="Agreement cascades, on --samples.")
    ] = False,
    samples: SamplesOption = None,
    bank: Annotated[
        list[Path] | None, typer.Option("--bank", help="A bank: plans and policies on it.")
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option("--prompts", help="The prompts that the bank was made of.")
    ] = None,
    weak: Annotated[str, typer.Option(help="Model that an agreement cascade starts on.")] = "",
    strong: Annotated[str, typer.Option(help="Model that it goes up to.")] = "",
    weak_configuration: Annotated[
        list[str] | None, typer.Option(help="Keep these configurations of the weak model.")
    ] = None,
    strong_configuration: Annotated[
        list[str] | None, typer.Option(help="Keep these configurations of the strong model.")
    ] = None,
    model: Annotated[list[str] | None, typer.Option("--model", help="Keep these models.")] = None,
    task: TaskOption = None,
    level: Annotated[
        float | None,
        typer.Option(min=0.5, max=1, help="Of reasc's and adaptive's test; .95 by default."),
    ] = None,
    most: Annotated[int | None, typer.Option(min=1, help="Samples that a rule may draw.")] = None,
    permutations: Annotated[int, typer.Option(min=1, help="Orders of a row's samples.")] = 20,
    ratio: RatioOption = None,
    repeats: RepeatsOption = 4,
    seed: SeedOption = 0,
    alpha: AlphaOption = 0.1,
    delta: DeltaOption = 0.1,
    votes_above: VotesOption = 4,
    batch: BatchOption = 32,
    runtime: RuntimeOption = None,
    episodes: EpisodesOption = None,
    as_json: JsonOption = False,
    html: HtmlOption = None,
) -> None:
    """Replay a stopping rule, an agreement cascade, or every plan and policy over a bank."""
    chosen = sum([rule is not None, agreement, bank is not None])
    if chosen != 1:
        raise ConfigurationError("give one of --rule, --agreement and --bank")
    if bank is not None:
        manner = Manner(
            repeats=repeats,
            seed=seed,
            risk=Risk(alpha, delta),
            votes_above=votes_above,
            batch=batch,
            runtimes=runtimes_of(runtime or ()),
        )
        _replay_bank(bank, prompts, manner, ratio or RATIOS, episodes, as_json, html)
        return
    if not samples:
        raise ConfigurationError("--samples: give the file of answers")
    if rule is not None:
        replay_rule(
            rule,
            samples,
            seed=seed,
            permutations=permutations,
            level=level,
            most=most,
            selection=_selection(model, task),
            as_json=as_json,
            html=html,
        )
        return
    if not weak or not strong:
        raise ConfigurationError("--agreement needs --weak and --strong")
    replay_agreement(
        samples,
        weak,
        strong,
        tasks=tuple(task or ()),
        weak_configurations=tuple(weak_configuration or ()),
        strong_configurations=tuple(strong_configuration or ()),
        ratios=ratio or COST_RATIOS,
        most=most or 6,
        seed=seed,
        permutations=permutations,
        as_json=as_json,
        html=html,
    )


def _selection(model: Sequence[str] | None, task: Sequence[str] | None) -> Selection | None:
    if not model and not task:
        return None
    return Selection(models=tuple(model or ()), tasks=tuple(task or ()))


def _replay_bank(  # noqa: PLR0913, PLR0917 - options of a command line
    banks: Sequence[Path],
    prompts: Path | None,
    manner: Manner,
    ratios: Sequence[float],
    episodes: Path | None,
    as_json: bool,  # noqa: FBT001 - an option
    html: Path | None,
) -> None:
    if prompts is None:
        raise ConfigurationError("--prompts: give the file that the bank was made of")
    study = opened(banks, prompts, manner, episodes)
    fitted = crossfitted(study, manner)
    arms = [arms_of(study, manner, fitted, ratio, COSTS) for ratio in (None, *ratios)]
    report = bank_report(study, manner, fitted, arms, command_line())
    if html is not None:
        html.write_text(render_html(report), encoding="utf-8")
    if as_json:
        measures = measures_of(study, fitted, manner.seed)
        print(json.dumps({"arms": arms_json(arms), "measures": measures}))
        return
    _show(report)


def _show(report: Report) -> None:
    console = Console()
    for table in report.tables:
        drawn = Drawn(title=table.title)
        for place, column in enumerate(table.columns):
            drawn.add_column(column, justify="left" if place == 0 else "right")
        for row in table.rows:
            drawn.add_row(*row)
        console.print(drawn)
