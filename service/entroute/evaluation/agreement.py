"""Agreement cascades: a few samples of the weak model answer if they agree, else the strong one.

The rule "m of K": draw weak samples one at a time, at most K; an answer with m votes is given at
once, and the strong model answers as soon as no answer can reach m any more. Every weak sample
drawn is charged. Where the weak model was asked in several ways the draws take turns among them,
for answers that different prompts agree on are right more often (Yue et al., 2310.03094).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from entroute.errors import ConfigurationError
from entroute.evaluation.answer_rows import AnswerRow

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, order=True)
class Agreement:
    """Accept an answer that `votes` of at most `samples` weak samples give.

    Attributes:
        votes: Votes wanted, 1 and up; 1 of 1 sends only an unparsable answer up.
        samples: Weak samples at most.
    """

    votes: int
    samples: int

    @property
    def name(self) -> str:
        """Its name in tables."""
        return f"{self.votes} of {self.samples}"


@dataclass(frozen=True, slots=True)
class CascadeReplay:
    """What each rule did with each prompt, averaged over the permutations.

    Attributes:
        prompts: Their tasks and ids.
        rules: The rules, those with more samples later.
        quality: Share right, rules x prompts.
        drawn: Weak samples, rules x prompts.
        escalated: Share of permutations that the strong model answered, rules x prompts.
        weak: Accuracy of one weak sample, a prompt.
        strong: Accuracy of one strong sample, a prompt.
    """

    prompts: tuple[str, ...]
    rules: tuple[Agreement, ...]
    quality: Floats
    drawn: Floats
    escalated: Floats
    weak: Floats
    strong: Floats


@dataclass(frozen=True, slots=True)
class Draw:
    """One rule on one order of samples: the answer's correctness, None if it goes up, and draws."""

    correct: bool | None
    drawn: int


def rules_up_to(samples: int) -> tuple[Agreement, ...]:
    """List 1 of 1 and every m of K with 2 <= m <= K <= `samples`."""
    wider = [Agreement(m, k) for k in range(2, samples + 1) for m in range(2, k + 1)]
    return (Agreement(1, 1), *wider)


def replay_agreement_rules(
    weak: Sequence[AnswerRow],
    strong: Sequence[AnswerRow],
    *,
    samples: int = 6,
    seed: int = 0,
    permutations: int = 20,
) -> CascadeReplay:
    """Play every rule on every prompt that both models answered.

    Args:
        weak: Rows of the weak model; several of one prompt take turns.
        strong: Rows of the strong model; an escalated prompt scores their mean.
        samples: Weak samples at most, 2 and up.
        seed: Of the orders.
        permutations: Orders a prompt.

    Raises:
        ConfigurationError: The models share no prompt, or a number is out of range.
    """
    if samples < 2 or permutations < 1:  # noqa: PLR2004 - agreement needs two
        raise ConfigurationError("give at least 2 weak samples and 1 permutation")
    asked, above = _by_prompt(weak), _by_prompt(strong)
    prompts = tuple(sorted(asked.keys() & above.keys()))
    if not prompts:
        raise ConfigurationError(
            "the weak and the strong model share no prompt: is --task one that both answered?"
        )
    rules = rules_up_to(samples)
    quality, drawn, escalated = np.zeros((3, len(rules), len(prompts)))
    one_weak = np.array([_accuracy(asked[prompt]) for prompt in prompts])
    one_strong = np.array([_accuracy(above[prompt]) for prompt in prompts])
    for at, prompt in enumerate(prompts):
        rng = np.random.default_rng([seed, at])
        for _ in range(permutations):
            order = in_turns(asked[prompt], rng)[:samples]
            for which, rule in enumerate(rules):
                draw = play(rule, order)
                up = draw.correct is None
                quality[which, at] += one_strong[at] if up else float(bool(draw.correct))
                drawn[which, at] += draw.drawn
                escalated[which, at] += up
    shares = (quality / permutations, drawn / permutations, escalated / permutations)
    return CascadeReplay(prompts, rules, *shares, one_weak, one_strong)


def play(rule: Agreement, order: Sequence[tuple[str | None, bool]]) -> Draw:
    """Play a rule on (answer, right) pairs in the order drawn; None as an answer has no vote."""
    votes: Counter[str] = Counter()
    right: dict[str, bool] = {}
    most = min(rule.samples, len(order))
    for drawn, (answer, correct) in enumerate(order[:most], start=1):
        if answer is not None:
            votes[answer] += 1
            if votes[answer] >= rule.votes:
                return Draw(right.setdefault(answer, correct), drawn)
            right.setdefault(answer, correct)
        if max(votes.values(), default=0) + most - drawn < rule.votes:
            return Draw(None, drawn)
    return Draw(None, most)


def in_turns(rows: Sequence[AnswerRow], rng: np.random.Generator) -> list[tuple[str | None, bool]]:
    """Shuffle each row's samples and take one of each row in turn, rows in a random order."""
    piles = []
    for at in rng.permutation(len(rows)):
        pairs = list(zip(rows[at].labels, rows[at].correct, strict=True))
        piles.append([pairs[i] for i in rng.permutation(len(pairs))])
    longest = max(len(pile) for pile in piles)
    return [pile[turn] for turn in range(longest) for pile in piles if turn < len(pile)]


def _by_prompt(rows: Sequence[AnswerRow]) -> dict[str, list[AnswerRow]]:
    found: dict[str, list[AnswerRow]] = {}
    for row in rows:
        key = f"{row.task} {row.prompt}" if row.task else row.prompt
        found.setdefault(key, []).append(row)
    return found


def _accuracy(rows: Sequence[AnswerRow]) -> float:
    right = [correct for row in rows for correct in row.correct]
    return sum(right) / len(right)
