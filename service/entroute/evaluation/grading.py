"""Whether recorded answers are right, by the verifiers that serve requests."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Mapping, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import islice
from random import Random
from typing import Any

from entroute.answers import extract
from entroute.errors import ConfigurationError, InvalidRequest
from entroute.evaluation.measures import digest_of
from entroute.evaluation.prompts_file import BankPrompt, PromptsFile
from entroute.evaluation.samples import Key, Sample
from entroute.evidence import Trace, Verdict
from entroute.ledger import Ledger
from entroute.protocols import Clock, Run, Sandbox, Verifier
from entroute.sandbox import SandboxConfig
from entroute.spending import Budget, Usage
from entroute.strategies.programs import printed, spoken
from entroute.types import Completion, Options, Principal
from entroute.verifiers import build_verifier
from entroute.verifiers.parts import VerifierParts
from entroute.verifiers.symbolic import SymbolicEquality

PROGRAM = "program"
"""Form of a prompt that asks for a program whose output is the answer."""

WALL_S = 10.0
"""Seconds that a program which computes an answer may take."""

AT_ONCE = 4
"""Answers that are judged at the same time: the sandbox and the algebra refuse a crowd."""

_RUN_CODE = frozenset({"tests", "program"})
_DEADLINE_S = 86_400.0
_BATCH = 64


@dataclass(frozen=True, slots=True)
class Grade:
    """What came of judging one answer.

    Attributes:
        right: Whether its score is 1, None where the verifier abstained.
        answer: The answer in canonical writing, None where none can be read; what a program
            printed for a prompt in the program form; code as the digest of its canonical writing.
    """

    right: bool | None
    answer: str | None


class Grader:
    """Judges answers, the same answer to the same prompt once.

    Args:
        prompts: What was asked.
        parts: Symbolic equality, started, and the sandbox or None; their run is not used.
        clock: Monotonic seconds.
        known: Grades of earlier runs by `key_of`; new ones are added.

    Raises:
        ConfigurationError: A check cannot be built; the message names its line.
    """

    def __init__(
        self,
        prompts: PromptsFile,
        sandbox: Sandbox | None,
        symbolic: SymbolicEquality,
        clock: Clock,
        known: MutableMapping[str, Grade],
    ) -> None:
        self.known = known
        self._sandbox = sandbox
        self._symbolic = symbolic
        self._clock = clock
        self._room = asyncio.Semaphore(AT_ONCE)
        self._prompts = prompts.by_key()
        self._running: dict[str, asyncio.Task[Grade]] = {}
        for prompt in prompts.prompts:
            try:
                self._verifier(prompt, self._run(prompt))
            except InvalidRequest as error:
                raise ConfigurationError(
                    f"{prompts.path}: line {prompt.line}: check: {error.message}"
                ) from error

    async def graded(self, sample: Sample) -> Sample:
        """Return a sample with its answer and whether it is right.

        Raises:
            ConfigurationError: Its prompt is not one of the file's, or its text was left out.
        """
        prompt = self._prompts.get((sample.prompt, sample.form))
        if prompt is None:
            raise ConfigurationError(
                f"'{sample.prompt}' ({sample.form}) is in the bank and not in the prompts file; "
                "give the file that the bank was recorded with"
            )
        if not sample.text and sample.completion_tokens > 1:
            raise ConfigurationError(
                "a summary holds no answers and cannot be graded; give the full bank"
            )
        grade = await self.grade(prompt, sample.text, cut=sample.finish_reason == "length")
        return replace(sample, right=grade.right, answer=grade.answer)

    async def grades(self, samples: Iterable[Sample]) -> dict[Key, Grade]:
        """Judge samples, some at once; raises as `graded`."""
        grades: dict[Key, Grade] = {}
        left = iter(samples)
        while batch := [replace(s, tokens=(), logprobs=(), top=()) for s in islice(left, _BATCH)]:
            for done in await asyncio.gather(*map(self.graded, batch)):
                grades[done.key] = Grade(done.right, done.answer)
        return grades

    async def grade(self, prompt: BankPrompt, text: str, *, cut: bool) -> Grade:
        """Judge an answer; `cut` says that it ran into its token limit.

        Nothing is remembered of an answer that could not be judged for want of a sandbox or of a
        free child: it is judged anew the next time.
        """
        key = key_of(prompt, text, cut=cut)
        if key in self.known:
            return self.known[key]
        task = self._running.get(key)
        if task is None:
            task = asyncio.create_task(self._judged(key, prompt, _completion(text, cut=cut)))
            self._running[key] = task
            task.add_done_callback(lambda _: self._running.pop(key, None))
        return await asyncio.shield(task)

    async def _judged(self, key: str, prompt: BankPrompt, completion: Completion) -> Grade:
        run = self._run(prompt)
        async with self._room:
            grade, keep = await self._judge(prompt, run, completion)
        if keep:
            self.known[key] = grade
        return grade

    async def _judge(
        self, prompt: BankPrompt, run: Run, completion: Completion
    ) -> tuple[Grade, bool]:
        """Return the grade and whether it says something of the answer."""
        verifier = self._verifier(prompt, run)
        kind = prompt.check["kind"] if prompt.check else ""
        if prompt.form == PROGRAM and kind not in _RUN_CODE and self._sandbox is not None:
            ran = await printed(run, self._sandbox, completion.content, wall_s=WALL_S)
            if ran.value is None:
                return Grade(None if ran.lost else False, None), not ran.lost
            completion = spoken(run.request, completion, ran)
        if verifier is None:
            return Grade(None, _canonical(completion, kind)), True
        (verdict,) = await verifier.score(run.request, [completion])
        return _grade(verdict, completion, kind), not (verdict.abstained and verdict.failed)

    def _verifier(self, prompt: BankPrompt, run: Run) -> Verifier | None:
        if prompt.check is None:
            return None
        return build_verifier(prompt.check, VerifierParts(self._symbolic, run, self._sandbox))

    def _run(self, prompt: BankPrompt) -> Run:
        """Return what verifiers expect of a request; no call is made in it."""
        now = self._clock()
        rng = Random()  # noqa: S311 - its marks only have to differ from what answers print
        return Run(
            request=prompt.request,
            options=Options(),
            principal=Principal(),
            tiers=(),
            ledger=Ledger(Budget(1, 1, now + _DEADLINE_S), {}, self._clock),
            trace=Trace("bank", "chat", now),
            clock=self._clock,
            rng=rng,
        )


@asynccontextmanager
async def grader(
    prompts: PromptsFile,
    sandbox: SandboxConfig,
    clock: Clock,
    known: MutableMapping[str, Grade] | None = None,
) -> AsyncIterator[Grader]:
    """Start what judging needs, a sandbox only where programs are run, and stop it afterwards.

    Raises:
        ConfigurationError: The sandbox cannot be started, or a check cannot be built.
    """
    symbolic = SymbolicEquality()
    box = sandbox.build() if needs_sandbox(prompts.prompts) else None
    grades: MutableMapping[str, Grade] = {} if known is None else known
    try:
        if box is not None:
            await box.start()
        symbolic.start()
        yield Grader(prompts, box, symbolic, clock, grades)
    finally:
        await symbolic.close()
        if box is not None:
            await box.close()


def needs_sandbox(prompts: Iterable[BankPrompt]) -> bool:
    """Return whether judging any answer takes running what a model wrote."""
    checks = ((prompt, prompt.check["kind"]) for prompt in prompts if prompt.check)
    return any(prompt.form == PROGRAM or kind in _RUN_CODE for prompt, kind in checks)


def key_of(prompt: BankPrompt, text: str, *, cut: bool) -> str:
    """Return what grades are remembered by: prompt, check and answer, 32 hex digits."""
    check = json.dumps(prompt.check, sort_keys=True)
    return digest_of("\0".join((prompt.id, prompt.form, check, str(cut), text)))


def _grade(verdict: Verdict, completion: Completion, kind: str) -> Grade:
    right = None if verdict.abstained else verdict.score == 1.0
    answer = verdict.answer
    if answer is None and kind != "exact":
        answer = _canonical(completion, kind)
    return Grade(right, answer)


def _canonical(completion: Completion, kind: str) -> str | None:
    """Return an answer that no verifier has read; a long one as its digest."""
    found = extract(completion.content, "code" if kind in _RUN_CODE else "auto")
    if found is None:
        return None
    return f"code:{digest_of(found.canonical)}" if found.form == "code" else found.canonical


def _completion(text: str, *, cut: bool) -> Completion:
    return Completion(text, "length" if cut else "stop", Usage())


def restored(rows: Mapping[str, Any]) -> dict[str, Grade]:
    """Return grades that were kept as JSON: `{key: [right, answer]}`."""
    return {key: Grade(*row) for key, row in rows.items()}


def kept(grades: Mapping[str, Grade]) -> dict[str, list[Any]]:
    """Return grades as JSON, for `restored`."""
    return {key: [grade.right, grade.answer] for key, grade in grades.items()}
