"""Whether the answers of replayed plans are right."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace

from entroute.evaluation.episodes import Episode, asked_once
from entroute.evaluation.grading import Grader, grader
from entroute.evaluation.prompts_file import BankPrompt, PromptsFile
from entroute.evaluation.samples import Sample
from entroute.sandbox import SandboxConfig

_AT_ONCE = 256


def graded(
    episodes: Sequence[Episode],
    samples: Sequence[Sample],
    prompts: PromptsFile,
    sandbox: SandboxConfig,
) -> list[Episode]:
    """Return episodes with their grades: the bank's own where the answer is one of its samples.

    Args:
        episodes: With their texts.
        samples: The bank.
        prompts: What was asked.
        sandbox: Runs programs.
    """
    known: dict[tuple[str, str], bool | None] = {
        (s.prompt, s.text): s.right for s in samples if s.right is not None
    }
    return asyncio.run(_graded(episodes, known, prompts, sandbox))


async def _graded(
    episodes: Sequence[Episode],
    known: dict[tuple[str, str], bool | None],
    prompts: PromptsFile,
    sandbox: SandboxConfig,
) -> list[Episode]:
    by_id = {prompt.id: prompt for prompt in asked_once(prompts.prompts)}
    rest = sorted({(e.prompt, e.text, e.cut) for e in episodes if (e.prompt, e.text) not in known})
    async with grader(prompts, sandbox, time.monotonic) as judge:
        for start in range(0, len(rest), _AT_ONCE):
            some = rest[start : start + _AT_ONCE]
            found = await asyncio.gather(*(_judged(judge, by_id[p], t, cut=c) for p, t, c in some))
            known |= {(p, t): right for (p, t, _), right in zip(some, found, strict=True)}
    return [replace(episode, right=known[episode.prompt, episode.text]) for episode in episodes]


async def _judged(judge: Grader, prompt: BankPrompt, text: str, *, cut: bool) -> bool | None:
    return False if not text else (await judge.grade(prompt, text, cut=cut)).right
