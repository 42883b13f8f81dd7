"""A bank under study: fitted in folds, every plan replayed, nothing judged by what saw it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np

from entroute.errors import ConfigurationError
from entroute.evaluation.crossfit import FOLDS, CrossFit, Predictor, asked_of, crossfit, folds_of
from entroute.evaluation.episodes import Episode, PlanSpec, Replay, replayed
from entroute.evaluation.gate_fit import Gates, Risk, fit_gates
from entroute.evaluation.gathering import Evidence
from entroute.evaluation.menu import plan_menu
from entroute.evaluation.plan_fit import Scale
from entroute.evaluation.prompts_file import BankPrompt
from entroute.evaluation.replaying import recorded_sandbox
from entroute.evaluation.runtime_fit import fit_runtime
from entroute.evaluation.samples import Sample
from entroute.evaluation.text_fit import Labelled, fit_text_model
from entroute.evaluation.trying import Tried, tried
from entroute.evaluation.virtual_time import run_virtually
from entroute.profile.features import extract
from entroute.profile.plans import Asked, Runtime
from entroute.profile.text_model import Prediction, TextModel


@dataclass(frozen=True, slots=True)
class Manner:
    """How to calibrate.

    Attributes:
        repeats: Permutations of each prompt's samples.
        seed: Of every random choice.
        risk: What a gate may risk.
        votes_above: Votes at most on tiers above the cheapest.
        batch: Requests that were in flight while the bank was recorded.
        runtimes: By tier, measured elsewhere; fitted on the bank's times where left out.
        target_cost: Mean cost in units, None for the default: within `EPSILON` of the best fixed
            plan's accuracy.
        command: What made the profile, to be written into it.
    """

    repeats: int = 4
    seed: int = 0
    risk: Risk = field(default_factory=Risk)
    votes_above: int = 4
    batch: float = 32.0
    runtimes: Mapping[str, Runtime] | None = None
    target_cost: float | None = None
    command: str = ""


@dataclass(frozen=True, slots=True)
class Study:
    """A bank under study: folds, fits that have not seen them, and what plans did.

    Attributes:
        evidence: The bank.
        folds: Each prompt's fold.
        scale: What one answer is.
        text: Fitted on every prompt.
        asked: What is known of each prompt, by fits that have not seen it.
        p_right: Predicted P(right) by tier, one entry a prompt, by the same fits.
        gates: By fold, fitted on the others; -1 on all.
        rows: What each plan did on each prompt.
    """

    evidence: Evidence
    folds: tuple[int, ...]
    scale: Scale
    text: TextModel
    asked: Mapping[str, Asked]
    p_right: Mapping[str, tuple[float, ...]]
    gates: Mapping[int, Gates]
    rows: tuple[Tried, ...]

    @property
    def fold_of(self) -> dict[str, int]:
        """Each prompt's fold, by its id."""
        return dict(zip(self.evidence.questions.ids, self.folds, strict=True))

    def specs(self, fold: int, votes_above: int) -> tuple[PlanSpec, ...]:
        """Return the plans with the gates that have not seen a fold, -1 for the final ones."""
        gates = self.gates[fold]
        return plan_menu(
            list(self.evidence.models), gates.points, gates.signals, votes_above=votes_above
        )


Grading = Callable[[Sequence[Episode]], Sequence[Episode]]
Progress = Callable[[str, int, int], None]


def scale_of(evidence: Evidence, manner: Manner) -> Scale:
    """Return what one answer takes.

    Raises:
        ConfigurationError: Runtimes are given for other tiers, or cannot be fitted.
    """
    by_tier: dict[str, list[Sample]] = {tier: [] for tier in evidence.models}
    for sample in evidence.plain:
        by_tier[sample.tier].append(sample)
    if manner.runtimes is not None and set(manner.runtimes) != set(by_tier):
        raise ConfigurationError(
            f"--runtime: give one for each tier of the bank: {', '.join(by_tier)}"
        )
    runtimes = manner.runtimes or {
        tier: fit_runtime(samples, manner.batch) for tier, samples in by_tier.items()
    }
    last = list(evidence.models)[-1]
    largest, runtime = by_tier[last], runtimes[last]
    read = float(np.mean([s.prompt_tokens for s in largest]))
    made = float(np.mean([s.completion_tokens for s in largest]))
    return Scale(
        runtimes=runtimes,
        unit_s=runtime.seconds(read, made),
        answer_s=read * runtime.prompt_s + made * runtime.stream_token_s,
        answer_tokens=float(np.mean(evidence.lengths)),
    )


def studied(
    evidence: Evidence,
    manner: Manner,
    grading: Grading,
    progress: Progress,
    known: Sequence[Episode] | None = None,
) -> Study:
    """Fit what decides before anything is spent, and replay every plan.

    Args:
        evidence: The bank.
        manner: How to study it.
        grading: Says which answers are right.
        progress: Told what is being done, and how much of how much is.
        known: Graded episodes of the same study, to save replaying.
    """
    folds = tuple(folds_of(len(evidence.prompts), manner.seed))
    scale = scale_of(evidence, manner)
    rows = _labelled(evidence)
    texts = {-1: _text(evidence, rows, manner.seed)}
    for fold in range(FOLDS):
        others = [row for row, its in zip(rows, folds, strict=True) if its != fold]
        texts[fold] = _text(evidence, others, manner.seed)
        progress("difficulty", fold + 1, FOLDS)
    asked, p_right = _predicted(evidence, texts, folds)
    gates = {fold: _gates(evidence, folds, fold, manner) for fold in (-1, *range(FOLDS))}
    unplayed = Study(evidence, folds, scale, texts[-1], asked, p_right, gates, ())
    episodes = grading(_replayed(unplayed, manner, progress)) if known is None else known
    return replace(unplayed, rows=tuple(tried(episodes)))


def _labelled(evidence: Evidence) -> list[Labelled]:
    return [
        Labelled(
            extract(text),
            {tier: shares[place] for tier, shares in evidence.right.items()},
            evidence.prompts[place].task,
            evidence.lengths[place],
        )
        for place, text in enumerate(evidence.questions.texts)
    ]


def _text(evidence: Evidence, rows: Sequence[Labelled], seed: int) -> TextModel:
    return fit_text_model(rows, list(evidence.models), seed=seed)


def _predicted(
    evidence: Evidence, texts: Mapping[int, TextModel], folds: Sequence[int]
) -> tuple[dict[str, Asked], dict[str, tuple[float, ...]]]:
    models = {fold: cache(model.predict) for fold, model in texts.items()}

    def predictor(model: Callable[[str], Prediction]) -> Predictor:
        def predict(text: str) -> tuple[Mapping[str, float], float, str | None]:
            seen = model(text)
            length = seen.output_tokens or float(np.mean(evidence.lengths))
            return seen.p_right, length, seen.task

        return predict

    predictors = {fold: predictor(model) for fold, model in models.items()}
    asked = asked_of(evidence.questions, predictors, folds)
    seen = [
        models[fold](text).p_right
        for fold, text in zip(folds, evidence.questions.texts, strict=True)
    ]
    return asked, {tier: tuple(p[tier] for p in seen) for tier in evidence.models}


def _gates(evidence: Evidence, folds: Sequence[int], fold: int, manner: Manner) -> Gates:
    """Fit gates on the prompts outside a fold."""
    questions = evidence.questions
    forms = {
        prompt: form
        for prompt, form, its in zip(questions.ids, questions.forms, folds, strict=True)
        if its != fold and form
    }
    rng = np.random.default_rng(manner.seed)
    return fit_gates(evidence.plain, forms, evidence.models, manner.risk, rng)


def _replayed(study: Study, manner: Manner, progress: Progress) -> list[Episode]:
    evidence = study.evidence
    fold_of = study.fold_of
    menus = {fold: study.specs(fold, manner.votes_above) for fold in range(FOLDS)}

    def specs_of(prompt: BankPrompt) -> Sequence[PlanSpec]:
        return menus[fold_of[prompt.id]]

    replay = Replay(
        samples=evidence.samples,
        prompts=evidence.prompts,
        models=evidence.models,
        runtimes=study.scale.runtimes,
        repeats=manner.repeats,
        seed=manner.seed,
    )
    with recorded_sandbox() as sandbox:
        return run_virtually(
            replayed(replay, specs_of, sandbox, lambda i, n: progress("plans", i, n))
        )


def crossfitted(study: Study, manner: Manner) -> CrossFit:
    """Return what plans promise for prompts that no fit has seen, and what they did there."""
    specs = study.specs(-1, manner.votes_above)
    return crossfit(specs, study.rows, study.asked, study.fold_of, study.scale)
