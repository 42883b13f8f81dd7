"""Recording of a bank: so many samples of every prompt by every tier, and more of the hard ones.

Every prompt of a tier gets its first draws whatever comes of them, draw after draw over all
prompts, so that a recording that is stopped has as many of each. Where most of a prompt's first
draws were wrong, more are drawn one by one until enough are right or a cap is reached. Those are
marked `extra`: their number depends on what they were, so means over a prompt leave them out.

Source: DART-Math (2407.13690), which collects right answers to hard queries by more trials. Its
"uniform" strategy is meant, on hard prompts alone: the same number of right answers each.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from entroute.errors import CallFailed, ConfigurationError, DeadlineExceeded, WorkerRejected
from entroute.evaluation.drawing import Failure, Plan, asked, sample_of
from entroute.evaluation.grading import Grade, Grader
from entroute.evaluation.journal import Journal
from entroute.evaluation.lanes import Lane
from entroute.evaluation.measures import digest_of
from entroute.evaluation.prompts_file import BankPrompt
from entroute.evaluation.samples import Key, Sample
from entroute.protocols import Backend, Clock
from entroute.types import Completion

HARD_TARGET = 2
"""Right answers at which a hard prompt gets no more draws."""

Asker = Callable[[str, BankPrompt], Awaitable[float | None]]
"""Returns the mean log-probability of a prompt's tokens under a tier's model, or None."""


class Watcher(Protocol):
    """Told how a recording goes on."""

    def planned(self, draws: int) -> None:
        """So many draws are still to be made, beyond those told before."""
        ...

    def drawn(self, sample: Sample) -> None:
        """One was made."""
        ...


@dataclass(slots=True)
class _Tally:
    """What is known of a tier's samples of one prompt: which draws there are, right and wrong."""

    drawn: set[int] = field(default_factory=set)
    right: set[int] = field(default_factory=set)
    wrong: set[int] = field(default_factory=set)
    prompt_logprob: float | None = None
    asked: bool = False
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)


class Recorder:
    """Records what a plan asks for and the journal does not hold.

    Args:
        plan: What is to be recorded.
        tiers: Whom to ask, by tier.
        journal: Where rows go, and what is there already.
        grader: Judges answers while others are drawn, None to leave them unjudged; hard prompts
            cannot be told without.
        asker: Tells a prompt's log-probability, None to leave it out.
        watcher: Told how it goes on.
        clock: Monotonic seconds.

    Attributes:
        grades: What was judged, by sample.
        failures: Draws that nobody answered.
        unasked: Draws by tier that were not tried, since nobody answered those before.
    """

    def __init__(  # noqa: PLR0913 - what is recorded, from where, to where, judged by whom
        self,
        plan: Plan,
        tiers: Mapping[str, Backend],
        journal: Journal,
        *,
        grader: Grader | None,
        asker: Asker | None,
        watcher: Watcher,
        clock: Clock,
    ) -> None:
        self.grades: dict[Key, Grade] = {}
        self.failures: list[Failure] = []
        self.unasked: Counter[str] = Counter()
        self._plan = plan
        self._tiers = tiers
        self._journal = journal
        self._grader = grader
        self._asker = asker
        self._watcher = watcher
        self._clock = clock
        self._tallies: dict[tuple[str, str, str], _Tally] = {}
        self._judging: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Record; what was answered is in the journal whatever happens.

        Raises:
            ConfigurationError: The journal holds samples of prompts that the plan does not.
        """
        prompts = {prompt.key: prompt for prompt in self._plan.prompts}
        async with asyncio.TaskGroup() as group:
            for sample in self._journal:
                _check_asked(sample, prompts.get((sample.prompt, sample.form)))
                self._note(sample)
                self._judge_behind(group, sample)
            for tier in self._tiers:
                group.create_task(self._record(group, tier))

    async def _record(self, group: asyncio.TaskGroup, tier: str) -> None:
        """Make a tier's first draws, then those of its hard prompts."""
        indices = range(self._plan.samples)
        todo = deque(
            (prompt, index)
            for index in indices
            for prompt in self._plan.prompts
            if index not in self._tally(tier, prompt).drawn
        )
        self._watcher.planned(len(todo))
        lane = Lane(self._plan.concurrency)

        async def draw(item: tuple[BankPrompt, int]) -> None:
            sample = await self._draw(lane, tier, *item)
            if sample is not None:
                self._judge_behind(group, sample)

        await lane.through(todo, draw)
        self.unasked[tier] += len(todo)
        while self._judging:
            await asyncio.wait(self._judging)
        hard = deque(prompt for prompt in self._plan.prompts if self._is_hard(tier, prompt))
        await lane.through(hard, lambda prompt: self._insist(lane, tier, prompt))

    def _is_hard(self, tier: str, prompt: BankPrompt) -> bool:
        """Whether most of its first draws are wrong, all of them are made, and more may help."""
        tally, first = self._tally(tier, prompt), set(range(self._plan.samples))
        return first <= tally.drawn and 2 * len(tally.wrong & first) > self._plan.samples

    async def _insist(self, lane: Lane, tier: str, prompt: BankPrompt) -> None:
        """Draw one by one until enough are right, or the cap is reached."""
        tally = self._tally(tier, prompt)
        for index in range(self._plan.samples, self._plan.hard_trials):
            if lane.closed or len(tally.right) >= HARD_TARGET:
                return
            if index not in tally.drawn:
                self._watcher.planned(1)
                sample = await self._draw(lane, tier, prompt, index)
                if sample is None:
                    return  # a later one in its place would not be the next one
                await self._judge(sample)

    async def _draw(self, lane: Lane, tier: str, prompt: BankPrompt, index: int) -> Sample | None:
        """Make one draw, with further attempts; None, and a failure, where none is answered."""
        await self._prompt_logprob(tier, prompt)
        reason = ""
        for pause in (*self._plan.pauses_s, None):
            try:
                completion = await asked(self._tiers[tier], self._plan, prompt, index, self._clock)
            except WorkerRejected as error:
                reason = str(error)
                break  # every worker would, and every time
            except (CallFailed, DeadlineExceeded) as error:
                reason = str(error)
                if pause is not None:
                    await asyncio.sleep(pause)
            else:
                lane.answered()
                return self._keep(tier, prompt, index, completion)
        else:
            lane.failed()
        self.failures.append(Failure(tier, prompt.id, prompt.form, index, reason))
        return None

    def _keep(self, tier: str, prompt: BankPrompt, index: int, completion: Completion) -> Sample:
        """Write a sample to the journal."""
        sample = replace(
            sample_of(tier, prompt, index, completion),
            extra=index >= self._plan.samples,
            prompt_logprob=self._tally(tier, prompt).prompt_logprob,
        )
        self._journal.add(sample)
        self._note(sample)
        self._watcher.drawn(sample)
        return sample

    def _judge_behind(self, group: asyncio.TaskGroup, sample: Sample) -> None:
        task = group.create_task(self._judge(replace(sample, tokens=(), logprobs=(), top=())))
        self._judging.add(task)
        task.add_done_callback(self._judging.discard)

    async def _judge(self, sample: Sample) -> None:
        """Judge a sample that is not judged yet."""
        if self._grader is None or sample.right is not None or sample.answer is not None:
            return
        done = await self._grader.graded(sample)
        self.grades[sample.key] = Grade(done.right, done.answer)
        self._note(done)

    async def _prompt_logprob(self, tier: str, prompt: BankPrompt) -> None:
        """Ask for it, once a prompt and tier, before the first draw: no answer waits for it."""
        tally = self._tally(tier, prompt)
        if self._asker is None or tally.prompt_logprob is not None:
            return
        async with tally.asking:
            if not tally.asked:
                tally.prompt_logprob = await self._asker(tier, prompt)
                tally.asked = True

    def _note(self, sample: Sample) -> None:
        tally = self._tallies.setdefault((sample.tier, sample.prompt, sample.form), _Tally())
        tally.drawn.add(sample.index)
        if sample.right is not None:
            (tally.right if sample.right else tally.wrong).add(sample.index)
        if sample.prompt_logprob is not None:
            tally.prompt_logprob = sample.prompt_logprob

    def _tally(self, tier: str, prompt: BankPrompt) -> _Tally:
        return self._tallies.setdefault((tier, *prompt.key), _Tally())


def _check_asked(sample: Sample, prompt: BankPrompt | None) -> None:
    what = f"'{sample.prompt}' ({sample.form})"
    if prompt is None:
        raise ConfigurationError(
            f"{what} is in the bank and not in the prompts file; give a file that holds it, or "
            "another --out"
        )
    if sample.digest != digest_of(prompt.request.text):
        raise ConfigurationError(
            f"{what} was asked in other words than the prompts file has; give it another id, or "
            "give another --out"
        )
