"""What a bank holds, ready to be fitted: read, checked for size, in one order."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np

from entroute.errors import ConfigurationError
from entroute.evaluation.bank import BankHeader, read_bank
from entroute.evaluation.crossfit import Questions
from entroute.evaluation.episodes import asked_once, form_of
from entroute.evaluation.prompts_file import BankPrompt, PromptsFile
from entroute.evaluation.samples import Key, Sample

FEWEST_PROMPTS = 100
"""Prompts of known answer forms, with graded samples of every tier, that a profile needs."""

FEWEST_OF_A_KIND = 10
"""Prompts answered right at least once, and wrong at least once, that a tier needs."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """A bank and its prompts.

    Attributes:
        samples: Every sample of the prompts below, other forms of a question too.
        prompts: As clients ask them, each with graded samples of every tier.
        questions: The same as texts.
        right: Share of right answers by tier, one entry a prompt.
        lengths: Mean completion tokens of an answer, one entry a prompt.
        models: Model by tier, cheapest first.
        header: Of the first bank.
        digests: Of the files, by name.
    """

    samples: tuple[Sample, ...]
    prompts: tuple[BankPrompt, ...]
    questions: Questions
    right: Mapping[str, tuple[float, ...]]
    lengths: tuple[float, ...]
    models: Mapping[str, str]
    header: BankHeader
    digests: Mapping[str, str]

    @property
    def plain(self) -> list[Sample]:
        """The samples of prompts as clients ask them; draws added for hard prompts left out."""
        asked = {prompt.key for prompt in self.prompts}
        return [s for s in self.samples if (s.prompt, s.form) in asked and not s.extra]


def gathered(banks: Sequence[Path], prompts: PromptsFile) -> Evidence:
    """Read banks that belong together.

    Raises:
        ConfigurationError: A file is wrong, the banks do not belong together, or they hold too
            little to fit anything on; the message says how much is missing.
    """
    samples, header = _read(banks)
    graded: dict[str, dict[str, list[Sample]]] = defaultdict(lambda: defaultdict(list))
    forms = {prompt.id: prompt.form for prompt in asked_once(prompts.prompts)}
    asked = {prompt.key: prompt.request.text for prompt in prompts.prompts}
    for sample in samples:
        _check_text(sample, asked.get((sample.prompt, sample.form)), prompts)
        if forms.get(sample.prompt) == sample.form and sample.right is not None:
            graded[sample.prompt][sample.tier].append(sample)
    kept = [
        prompt
        for prompt in asked_once(prompts.prompts)
        if all(graded[prompt.id][tier] for tier in header.tiers)
    ]
    _check_size(banks, sum(form_of(prompt) != "" for prompt in kept))
    right = {
        tier: tuple(_share(graded[prompt.id][tier]) for prompt in kept) for tier in header.tiers
    }
    _check_kinds(banks, right)
    ids = {prompt.id for prompt in kept}
    return Evidence(
        samples=tuple(sample for sample in samples if sample.prompt in ids),
        prompts=tuple(kept),
        questions=Questions(
            ids=tuple(prompt.id for prompt in kept),
            texts=tuple(prompt.request.text for prompt in kept),
            forms=tuple(form_of(prompt) for prompt in kept),
            prompt_tokens=tuple(
                float(next(iter(graded[p.id].values()))[0].prompt_tokens) for p in kept
            ),
        ),
        right=right,
        lengths=tuple(
            float(
                np.mean(
                    [s.completion_tokens for t in header.tiers for s in _plain(graded[p.id][t])]
                )
            )
            for p in kept
        ),
        models=header.tiers,
        header=header,
        digests={path.name: _digest(path) for path in banks},
    )


def _read(banks: Sequence[Path]) -> tuple[list[Sample], BankHeader]:
    first = read_bank(banks[0])
    samples: list[Sample] = []
    seen: set[Key] = set()
    for path in banks:
        bank = read_bank(path)
        if bank.header.summary:
            raise ConfigurationError(
                f"{path}: is a summary: it holds no tokens to replay plans on; give the full bank"
            )
        for what in ("tiers", "engine", "temperature"):
            mine, theirs = getattr(bank.header, what), getattr(first.header, what)
            if mine != theirs:
                raise ConfigurationError(
                    f"{path}: {what} is {mine!r}, in {banks[0]} it is {theirs!r}; calibrate them "
                    "apart"
                )
        for sample in bank:
            if sample.key in seen:
                raise ConfigurationError(
                    f"{path}: sample {sample.index} of '{sample.prompt}' ({sample.form}) by "
                    f"'{sample.tier}' is in another bank, too; give each bank once"
                )
            seen.add(sample.key)
            samples.append(sample)
    return samples, first.header


def _share(samples: Sequence[Sample]) -> float:
    """Return the share of right answers, draws that were added for hard prompts left out."""
    return float(np.mean([bool(s.right) for s in _plain(samples)]))


def _plain(samples: Sequence[Sample]) -> Sequence[Sample]:
    return [s for s in samples if not s.extra] or samples


def _check_text(sample: Sample, asked: str | None, prompts: PromptsFile) -> None:
    if asked is not None and sample.message != asked:
        raise ConfigurationError(
            f"{prompts.path}: '{sample.prompt}' ({sample.form}) asks something else than the bank; "
            "give the file that the bank was recorded with"
        )


def _check_size(banks: Sequence[Path], count: int) -> None:
    if count < FEWEST_PROMPTS:
        raise ConfigurationError(
            f"{', '.join(map(str, banks))}: {count} prompts ask for an answer of a known form and "
            f"have a graded sample of every tier; a profile needs {FEWEST_PROMPTS}, so "
            f"{FEWEST_PROMPTS - count} more: record them with `entroute bank`"
        )


def _check_kinds(banks: Sequence[Path], right: Mapping[str, Sequence[float]]) -> None:
    for tier, shares in right.items():
        for what, count in (
            ("right", sum(share > 0 for share in shares)),
            ("wrong", sum(share < 1 for share in shares)),
        ):
            if count < FEWEST_OF_A_KIND:
                raise ConfigurationError(
                    f"{', '.join(map(str, banks))}: tier '{tier}' answers only {count} prompts "
                    f"{what}; to tell easy from hard a fit needs {FEWEST_OF_A_KIND}, so "
                    f"{FEWEST_OF_A_KIND - count} more: record other prompts"
                )


def _digest(path: Path) -> str:
    return blake2b(path.read_bytes(), digest_size=16).hexdigest()
