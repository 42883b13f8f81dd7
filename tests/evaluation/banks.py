"""Made banks of two tiers whose prompts are as hard as one says, visibly or not.

Easy prompts are right on the small tier, hard ones only on the large one; a wrong answer is always
the same, so that votes cannot find out. A large answer takes three times as long as a small one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Literal

from entroute.evaluation.bank import BankHeader, Sample, write_bank
from entroute.evaluation.crossfit import CrossFit
from entroute.evaluation.episodes import Episode
from entroute.evaluation.gathering import Evidence, gathered
from entroute.evaluation.prompts_file import PromptsFile, read_prompts
from entroute.evaluation.studying import Manner, Study, crossfitted, studied
from tests.evaluation.recorded import prompts_at

MODELS = {"small": "small-model", "large": "large-model"}
SECONDS_PER_TOKEN = {"small": 0.01, "large": 0.03}
TOKENS = (6, 12)
"""Of an answer, by chance."""

EASY = ("apple", "basket", "market", "seller", "fruit", "morning")
HARD = ("integral", "manifold", "tensor", "lemma", "topology", "kernel")
EITHER = ("river", "garden", "window", "letter", "candle", "ladder")

SURE, UNSURE = (-0.02, -4.5, -6.0), (-1.1, -1.1, -1.6)

HEADER = BankHeader(
    tiers=MODELS,
    engine="made up 1.0",
    temperature=0.7,
    max_tokens=320,
    samples=4,
    prompts="0" * 32,
    command="entroute bank --prompts p.jsonl --out b.jsonl.gz",
)


@dataclass(frozen=True, slots=True)
class World:
    """What a bank is made of.

    Attributes:
        visible: Whether the words of a prompt tell how hard it is.
        sure: Whether a model is sure of its right answers and unsure of its wrong ones.
        count: Prompts, every other one hard.
        draws: Samples of each prompt and tier.
        forms: Answer forms, in turn.
        chances: P(right) by tier on an easy and on a hard prompt.
        seed: Of every draw.
    """

    visible: bool = True
    sure: bool = False
    count: int = 120
    draws: int = 4
    forms: tuple[Literal["number", "choice"], ...] = ("number",)
    chances: tuple[tuple[float, float], ...] = ((0.95, 0.05), (0.95, 0.9))
    seed: int = 0


MANNER = Manner(repeats=2, batch=1.0)

VISIBLE = World()
HIDDEN = World(visible=False)


def rows_of(world: World) -> list[dict[str, Any]]:
    """Return the rows of a prompts file."""
    rng = Random(world.seed)  # noqa: S311 - sample data
    rows = []
    for place in range(world.count):
        words = (HARD if place % 2 else EASY) if world.visible else EITHER
        chosen = " ".join(rng.choice(words) for _ in range(4))
        form = world.forms[place // 2 % len(world.forms)]
        asked = f"Case {place}: {chosen}. There are {rng.randint(2, 9)} of 12."
        if form == "choice":
            question, right = f"{asked} Which one is it?\nA) one\nB) two\nC) three", "B"
        else:
            question, right = f"{asked} How many are left?", str(1000 + place)
        rows.append(
            {
                "id": f"q{place:03}",
                "task": form,
                "question": question,
                "check": {"kind": "exact", "answer": right},
            }
        )
    return rows


def samples_of(world: World, prompts: PromptsFile) -> list[Sample]:
    """Return the samples of a world's prompts, graded."""
    rng = Random(f"{world.seed} samples")  # noqa: S311 - sample data
    samples = []
    for place, prompt in enumerate(prompts.prompts):
        for tier, chances in zip(MODELS, world.chances, strict=True):
            for index in range(world.draws):
                right = rng.random() < chances[place % 2]
                good = prompt.check["answer"] if prompt.check else ""
                answer = good if right else "C" if good == "B" else "7"
                sure = right or not world.sure
                samples.append(
                    replace(
                        a_sample(
                            f"The answer is {answer}.",
                            tier,
                            sure=sure,
                            tokens=rng.randint(*TOKENS),
                        ),
                        prompt=prompt.id,
                        task=prompt.task,
                        index=index,
                        message=prompt.request.text,
                        answer=answer,
                        right=right,
                    )
                )
    return samples


def a_sample(text: str, tier: str, *, sure: bool = True, tokens: int = 8) -> Sample:
    """Return a sample of so many tokens, the last of which says all."""
    top = SURE if sure else UNSURE
    return Sample(
        prompt="",
        task="",
        form="reasoning",
        tier=tier,
        index=0,
        message="",
        text=text,
        finish_reason="stop",
        prompt_tokens=10,
        latency_s=tokens * SECONDS_PER_TOKEN[tier],
        tokens=("",) * (tokens - 1) + (text,),
        logprobs=(top[0],) * tokens,
        top=(top,) * tokens,
        completion_tokens=tokens,
    )


def a_bank(folder: Path, world: World = VISIBLE) -> tuple[Path, Path]:
    """Write a bank and its prompts; return both files, the bank first."""
    prompts = prompts_at(folder / "prompts.jsonl", rows_of(world))
    path = folder / "bank.jsonl.gz"
    write_bank(path, HEADER, samples_of(world, prompts))
    return path, prompts.path


def evidence_of(folder: Path, world: World = VISIBLE) -> Evidence:
    """Return a world's bank as calibration reads it."""
    bank, prompts = a_bank(folder, world)
    return gathered([bank], read_prompts(prompts))


def by_the_bank(evidence: Evidence) -> Any:
    """Return what grades episodes whose answers are all in the bank."""
    known = {(s.prompt, s.text): s.right for s in evidence.samples}

    def grading(episodes: Sequence[Episode]) -> list[Episode]:
        return [replace(e, right=known[e.prompt, e.text]) for e in episodes]

    return grading


def a_study(evidence: Evidence, manner: Manner) -> Study:
    """Study a bank."""
    return studied(evidence, manner, by_the_bank(evidence), lambda *_: None)


@cache
def study_of(world: World) -> tuple[Study, CrossFit]:
    """Study a world's bank once, in `MANNER`; return the study and its predictions."""
    with TemporaryDirectory() as folder:
        study = a_study(evidence_of(Path(folder), world), MANNER)
    return study, crossfitted(study, MANNER)
