"""What plans did on prompts, permutations averaged."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from entroute.evaluation.episodes import Episode, Spent
from entroute.profile.plans import Runtime


@dataclass(frozen=True, slots=True)
class Tried:
    """One plan on one prompt, over its permutations.

    Attributes:
        prompt: The prompt's id.
        form: The answer form it asks for.
        plan: The plan's name.
        right: Share of permutations answered right, in [0, 1].
        spent: Mean spending by tier: calls, prompt tokens, completion tokens.
        latencies_s: One a permutation.
    """

    prompt: str
    form: str
    plan: str
    right: float
    spent: Mapping[str, tuple[float, float, float]]
    latencies_s: tuple[float, ...]

    def seconds(self, runtimes: Mapping[str, Runtime]) -> float:
        """Return the worker seconds it took."""
        return sum(
            runtimes[tier].seconds(read, made) for tier, (_, read, made) in self.spent.items()
        )


def tried(episodes: Iterable[Episode]) -> list[Tried]:
    """Return each plan on each prompt once, permutations averaged.

    Answers that nothing could grade are left out.

    Raises:
        ValueError: A plan asked for more samples than its specification says.
    """
    groups: dict[tuple[str, str], list[Episode]] = defaultdict(list)
    for episode in episodes:
        if episode.failures:
            raise ValueError(f"'{episode.plan}' ran out of samples on prompt {episode.prompt}")
        groups[episode.prompt, episode.plan].append(episode)
    return [
        Tried(
            prompt,
            group[0].form,
            plan,
            float(np.mean([bool(e.right) for e in group])),
            _mean_spent([e.spent for e in group]),
            tuple(e.latency_s for e in group),
        )
        for (prompt, plan), group in groups.items()
        if not any(e.right is None for e in group)
    ]


def _mean_spent(spent: Sequence[Mapping[str, Spent]]) -> dict[str, tuple[float, float, float]]:
    tiers = {tier for one in spent for tier in one}
    nothing = Spent(0, 0, 0)
    means: dict[str, tuple[float, float, float]] = {}
    for tier in tiers:
        rows = [one.get(tier, nothing) for one in spent]
        calls, read, made = (
            float(np.mean([getattr(row, name) for row in rows]))
            for name in ("calls", "prompt_tokens", "completion_tokens")
        )
        means[tier] = (calls, read, made)
    return means
