"""`entroute calibrate`: from a bank to a profile."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from entroute.errors import ConfigurationError
from entroute.evaluation.arms import uniform_points
from entroute.evaluation.bank_arms import families_of
from entroute.evaluation.calibrating import profile_of
from entroute.evaluation.episode_file import read_episodes, write_episodes
from entroute.evaluation.episode_grading import graded
from entroute.evaluation.episodes import Episode
from entroute.evaluation.gate_fit import Risk
from entroute.evaluation.gathering import Evidence, gathered
from entroute.evaluation.prompts_file import read_prompts
from entroute.evaluation.studying import Manner, Study, crossfitted, studied
from entroute.profile.plans import Runtime
from entroute.profile.profile import Profile, write_profile
from entroute.sandbox import BubblewrapConfig

BankOption = Annotated[
    list[Path], typer.Option("--bank", help="A bank; may be given several times.")
]
PromptsOption = Annotated[Path, typer.Option("--prompts", help="The prompts that it was made of.")]
RepeatsOption = Annotated[
    int, typer.Option("--repeats", min=1, help="Permutations of each prompt's samples.")
]
SeedOption = Annotated[int, typer.Option("--seed", help="Of every random choice.")]
AlphaOption = Annotated[
    float, typer.Option("--alpha", min=0.001, max=0.5, help="Error that a gate may accept.")
]
DeltaOption = Annotated[
    float, typer.Option("--delta", min=0.001, max=0.5, help="Chance that it accepts more.")
]
VotesOption = Annotated[
    int,
    typer.Option("--votes-above", min=3, max=64, help="Votes at most on the larger tiers."),
]
BatchOption = Annotated[
    float, typer.Option("--batch", min=1, help="Samples in flight while the bank was recorded.")
]
RuntimeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--runtime",
        help="TIER=PROMPT_S,TOKEN_S,STREAM_TOKEN_S,BATCH: a worker's pace, measured elsewhere.",
    ),
]
EpisodesOption = Annotated[
    Path | None,
    typer.Option("--episodes", help="Keep what plans did in this file, and use it again."),
]


def register(app: typer.Typer) -> None:
    """Add `calibrate` to a command line."""
    app.command("calibrate")(calibrate)


def calibrate(  # noqa: PLR0913 - options of a command line
    *,
    bank: BankOption,
    prompts: PromptsOption,
    out: Annotated[Path, typer.Option("--out", help="The profile, .json or .json.gz.")],
    repeats: RepeatsOption = 4,
    seed: SeedOption = 0,
    alpha: AlphaOption = 0.1,
    delta: DeltaOption = 0.1,
    votes_above: VotesOption = 4,
    batch: BatchOption = 32,
    runtime: RuntimeOption = None,
    target_cost: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            help="Mean cost to aim at, in mean answers of the largest tier; when left out, the "
            "least that is within .01 of the best fixed plan's accuracy.",
        ),
    ] = None,
    episodes: EpisodesOption = None,
) -> None:
    """Fit difficulty, gates, plans and runtimes on a bank, into one profile file."""
    manner = Manner(
        repeats=repeats,
        seed=seed,
        risk=Risk(alpha, delta),
        votes_above=votes_above,
        batch=batch,
        runtimes=runtimes_of(runtime or ()),
        target_cost=target_cost,
        command=command_line(),
    )
    study = opened(bank, prompts, manner, episodes)
    fitted = crossfitted(study, manner)
    families = families_of(study.specs(-1, manner.votes_above))
    profile = profile_of(study, manner, fitted, uniform_points(fitted.table, families))
    write_profile(out, profile)
    _tell(profile, out)


def command_line() -> str:
    """Return the command that is running, for the record."""
    return " ".join(["entroute", *sys.argv[1:]])


def runtimes_of(options: Sequence[str]) -> dict[str, Runtime] | None:
    """Read `tier=prompt_s,token_s,stream_token_s,batch` options, None for none.

    Raises:
        ConfigurationError: One is written otherwise.
    """
    found = {}
    for option in options:
        tier, _, numbers = option.partition("=")
        try:
            prompt_s, token_s, stream_s, batch = map(float, numbers.split(","))
            found[tier] = Runtime(
                prompt_s=prompt_s, token_s=token_s, stream_token_s=stream_s, batch=batch
            )
        except ValueError:
            raise ConfigurationError(
                f"--runtime {option}: write TIER=PROMPT_S,TOKEN_S,STREAM_TOKEN_S,BATCH, numbers "
                "above 0"
            ) from None
    return found or None


def opened(banks: Sequence[Path], prompts: Path, manner: Manner, kept: Path | None) -> Study:
    """Study a bank, with a progress bar; plans are not replayed anew if they were kept.

    Raises:
        ConfigurationError: As `gathered`.
    """
    asked = read_prompts(prompts)
    evidence = gathered(banks, asked)
    made = {**_made(evidence, manner), "prompts": asked.digest}
    known = None if kept is None else read_episodes(kept, made)
    sandbox = BubblewrapConfig()

    def grading(episodes: Sequence[Episode]) -> list[Episode]:
        found = graded(episodes, evidence.samples, asked, sandbox)
        if kept is not None:
            write_episodes(kept, made, found)
        return found

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        console=Console(stderr=True),
    ) as progress:
        return studied(evidence, manner, grading, _Bars(progress), known)


def _made(evidence: Evidence, manner: Manner) -> dict[str, str]:
    """Return what episodes depend on."""
    what = (manner.repeats, manner.seed, manner.risk, manner.votes_above, float(manner.batch))
    return {**evidence.digests, "manner": repr((*what, manner.runtimes))}


class _Bars:
    """Shows how far each step is."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, name: str, done: int, total: int) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total)
        self._progress.update(self._tasks[name], completed=done)


def _tell(profile: Profile, out: Path) -> None:
    print(f"{out}: {len(profile.plans)} plans, fitted on {profile.made.prompts} prompts")
    print(f"mean cost {profile.target_cost:.2f} large answers, at {profile.trade_off:.3g} each")
    for name, value in profile.measures.items():
        print(f"  {name}: {value:g}")
