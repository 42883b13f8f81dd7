"""`entroute bank`: record a bank, summarise one, judge one anew."""

import asyncio
import shlex
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from entroute.embedded.weights import Weights, default_directory
from entroute.errors import ConfigurationError
from entroute.evaluation.bank import Bank, read_bank, summarised
from entroute.evaluation.bank_table import rendered, task_rows
from entroute.evaluation.drawing import Plan, pauses_of
from entroute.evaluation.prompts_file import PromptsFile, read_prompts
from entroute.evaluation.recording import Order, Recorded, record, regrade, sandbox_of
from entroute.evaluation.samples import Sample
from entroute.evaluation.sources import settings_of

_INTERRUPTED = 130
_SHOWN = 10
_PACE_S = 600.0

PromptsOption = Annotated[
    Path | None, typer.Option("--prompts", help="What is asked: one JSON object a line.")
]
OutOption = Annotated[Path, typer.Option("--out", help="The bank, .jsonl.gz or .jsonl.")]
SamplesOption = Annotated[
    int, typer.Option("--samples", min=1, help="Draws of each prompt by each tier.")
]
TierOption = Annotated[
    list[str] | None, typer.Option("--tier", help="Tiers to record; all when left out.")
]
WorkerOption = Annotated[
    list[str] | None,
    typer.Option("--worker", help="TIER=URL,MODEL: ask this worker; may be given several times."),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="A gateway's file; the embedded default when left out."),
]
TemperatureOption = Annotated[float, typer.Option("--temperature", min=0, max=2)]
MaxTokensOption = Annotated[
    int, typer.Option("--max-tokens", min=1, help="Most tokens of a sample.")
]
ConcurrencyOption = Annotated[
    int, typer.Option("--concurrency", min=1, help="Samples in flight at each tier.")
]
HardOption = Annotated[
    int,
    typer.Option(
        "--hard-trials",
        min=0,
        help="Most draws of a prompt whose first ones were mostly wrong: it gets more, one by "
        "one, until two are right. They are marked `extra`.",
    ),
]
RetriesOption = Annotated[
    int, typer.Option("--retries", min=0, help="Further attempts at a sample that failed.")
]
SeedOption = Annotated[
    int | None, typer.Option("--seed", help="Draw i is sent this seed plus i; none by default.")
]
EngineOption = Annotated[
    str | None, typer.Option("--engine", help="What serves the tiers; asked when left out.")
]
PromptLogprobsOption = Annotated[
    bool,
    typer.Option("--prompt-logprobs", help="Ask vLLM how likely each prompt is, once a tier."),
]
SummaryOption = Annotated[
    bool, typer.Option("--summary", help="Write the bank's summary beside it, too.")
]
SummariseOption = Annotated[
    Path | None,
    typer.Option("--summarise", help="Write the summary of this bank to --out; record nothing."),
]
RegradeOption = Annotated[
    bool, typer.Option("--regrade", help="Judge the samples in --out anew; record nothing.")
]


def register(app: typer.Typer) -> None:
    """Add `bank` to a command line."""
    app.command("bank")(bank)


def bank(  # noqa: PLR0913 - options of a command line
    *,
    out: OutOption,
    prompts: PromptsOption = None,
    samples: SamplesOption = 4,
    tier: TierOption = None,
    worker: WorkerOption = None,
    config: ConfigOption = None,
    temperature: TemperatureOption = 0.7,
    max_tokens: MaxTokensOption = 320,
    concurrency: ConcurrencyOption = 32,
    hard_trials: HardOption = 0,
    retries: RetriesOption = 3,
    seed: SeedOption = None,
    engine: EngineOption = None,
    prompt_logprobs: PromptLogprobsOption = False,
    summary: SummaryOption = False,
    summarise: SummariseOption = None,
    again: RegradeOption = False,
) -> None:
    """Record answers of the tiers to prompts, judged and with their tokens; or work on a bank.

    A recording that was stopped goes on when it is started again.
    """
    console = Console(stderr=True)
    if summarise is not None:
        _summarise(console, read_bank(summarise), out)
        return
    asked = _read(prompts)
    settings = settings_of(worker or (), config, tier or ())
    if again:
        asyncio.run(regrade(read_bank(out), asked, sandbox_of(settings)))
        _show(read_bank(out))
        return
    draws = (samples, temperature, max_tokens, concurrency, hard_trials, seed)
    plan = Plan(asked.prompts, *draws, pauses_of(retries))
    sources = [*_options("--worker", worker), *_options("--tier", tier)]
    command = _command(asked.path, out, plan, config, sources)
    _record(console, Order(out, asked, plan, settings, command, engine, prompt_logprobs), summary)


def _read(prompts: Path | None) -> PromptsFile:
    if prompts is None:
        raise ConfigurationError("--prompts: give the file that says what is asked")
    return read_prompts(prompts)


def _record(console: Console, order: Order, summary: bool) -> None:  # noqa: FBT001 - an option
    recorded = _recorded(console, order)
    if summary:
        _summarise(console, recorded.bank, _summary_of(order.out))
    _show(recorded.bank)
    _tell(console, recorded)


class _Bar:
    """Shows how far a recording is, how many tokens a second it makes, and when it will be done."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("samples", total=0, pace=0.0)
        self._total = 0
        self._tokens = 0
        self._since = time.monotonic()

    def planned(self, draws: int) -> None:
        """See `Watcher.planned`."""
        self._total += draws
        self._progress.update(self._task, total=self._total)

    def drawn(self, sample: Sample) -> None:
        """See `Watcher.drawn`."""
        self._tokens += sample.completion_tokens
        pace = self._tokens / max(1e-9, time.monotonic() - self._since)
        self._progress.update(self._task, advance=1, pace=pace)


def _recorded(console: Console, order: Order) -> Recorded:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[pace]:.0f} tokens/s"),
        TimeRemainingColumn(),
    )
    try:
        with Progress(*columns, console=console, speed_estimate_period=_PACE_S) as progress:
            weights = Weights(default_directory(), lambda *_: None)
            return asyncio.run(
                record(order, weights.resolve, _Bar(progress), partial(_say, console))
            )
    except KeyboardInterrupt:
        _say(console, "entroute: interrupted; nothing is lost, the same command goes on")
        raise typer.Exit(_INTERRUPTED) from None


def _say(console: Console, sentence: str) -> None:
    console.print(sentence, markup=False, highlight=False, soft_wrap=True)


def _tell(console: Console, recorded: Recorded) -> None:
    """Tell of draws that failed, and exit 1 if any did."""
    failures = recorded.failures
    for failure in failures[:_SHOWN]:
        draw = f"{failure.prompt} ({failure.form}), sample {failure.index}"
        _say(console, f"{failure.tier}: {draw}: {failure.reason}")
    lost = len(failures) + recorded.unasked
    if not lost:
        return
    by_tier = Counter(failure.tier for failure in failures)
    where = ", ".join(f"{count} of {tier}" for tier, count in by_tier.items())
    _say(
        console,
        f"entroute: {lost} samples are missing, {where} failed after several attempts; what was "
        "answered is kept. Start the workers again, then run the same command: it goes on.",
    )
    raise typer.Exit(1)


def _show(bank: Bank) -> None:
    Console().print(rendered(task_rows(bank)))


def _summarise(console: Console, bank: Bank, out: Path) -> None:
    count = summarised(bank, out)
    _say(console, f"{out}: {count} samples, {out.stat().st_size} bytes")


def _summary_of(out: Path) -> Path:
    """Return where the summary of a bank goes: `x.jsonl.gz` has `x.summary.jsonl.gz`."""
    stem, dot, ending = out.name.partition(".jsonl")
    return out.with_name(f"{stem}.summary{dot}{ending}")


def _options(name: str, values: Sequence[str] | None) -> list[str]:
    return [word for value in values or () for word in (name, value)]


def _command(
    prompts: Path, out: Path, plan: Plan, config: Path | None, sources: Sequence[str]
) -> str:
    """Return the command that records the same again; files by their name alone."""
    words = ["entroute", "bank", "--prompts", prompts.name, "--out", out.name]
    words += ["--samples", str(plan.samples), "--temperature", f"{plan.temperature:g}"]
    words += ["--max-tokens", str(plan.max_tokens)]
    words += ["--hard-trials", str(plan.hard_trials)] if plan.hard_trials else []
    words += ["--seed", str(plan.seed)] if plan.seed is not None else []
    words += ["--config", config.name] if config else []
    return shlex.join([*words, *sources])
