"""What tests of banks are made of: samples, prompts files, backends that answer by a script."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from entroute.calls import CallStream
from entroute.evaluation.bank import BankHeader, Sample
from entroute.evaluation.prompts_file import PromptsFile, read_prompts
from entroute.spending import Usage
from entroute.types import Call, Completion, Delta

SAMPLE = Sample(
    prompt="q-1",
    task="gsm8k",
    form="reasoning",
    tier="small",
    index=3,
    message="Wie viele Äpfel?",
    text="Es sind 4.",
    finish_reason="stop",
    prompt_tokens=12,
    latency_s=1.5,
    tokens=("Es", " sind", " 4."),
    logprobs=(-0.1, -0.2, 0.0),
    top=((-0.1, -2.5), (-0.2, -1.7), (0.0, -9.0)),
)

HEADER = BankHeader(
    tiers={"small": "small-model"},
    engine="made up 1.0",
    temperature=0.7,
    max_tokens=320,
    samples=4,
    prompts="0" * 32,
    command="entroute bank --prompts p.jsonl --out b.jsonl.gz",
)

Script = Callable[[Call], str | Exception]


def some(count: int) -> list[Sample]:
    """Return samples of one prompt."""
    return [replace(SAMPLE, index=index) for index in range(count)]


def a_row(number: int = 1, **facts: Any) -> dict[str, Any]:
    """Return a row of a prompts file whose right answer is its number."""
    check = {"kind": "exact", "answer": str(number)}
    return {
        "id": f"q{number}",
        "task": "sums",
        "question": f"Number {number}?",
        "check": check,
    } | facts


def prompts_at(path: Path, rows: Iterable[dict[str, Any]]) -> PromptsFile:
    """Write a prompts file and read it."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return read_prompts(path)


def says(text: str) -> Script:
    """Answer everything so."""
    return lambda _: text


def number_of(call: Call) -> str:
    """Return the number that a prompt of `a_row` asks for."""
    return call.request.text.split()[1].rstrip("?")


@dataclass
class ScriptedBackend:
    """Answers by a script, at once, one token a word; notes what it was asked.

    Attributes:
        script: Returns the text of a call, or what it raises.
        calls: All it was asked, in order.
        most: Calls that were in flight together, at most.
    """

    script: Script
    calls: list[Call] = field(default_factory=list)
    most: int = 0
    _running: int = 0

    async def complete(self, call: Call) -> Completion:
        raise NotImplementedError

    async def stream(self, call: Call) -> CallStream:
        self.calls.append(call)
        self._running += 1
        self.most = max(self.most, self._running)
        try:
            await asyncio.sleep(0)
            said = self.script(call)
            if isinstance(said, Exception):
                raise said
            words = said.split(" ")
            token = {"logprob": -0.5, "top_logprobs": [{"logprob": -1.5}, {"logprob": -0.5}]}
            logprobs = tuple({"token": word, **token} for word in words)
            yield Delta(said, logprobs=logprobs)
            usage = Usage(9, 0, len(words), 1)
            yield Completion(
                said, "stop", usage, logprobs=logprobs, ttft_s=0.25, latency_s=0.5, call_id=call.id
            )
        finally:
            self._running -= 1

    @property
    def asked(self) -> Counter[str]:
        """How often each number was asked for."""
        return Counter(number_of(call) for call in self.calls)


@dataclass
class Watched:
    """Counts what a recording tells."""

    draws: int = 0
    samples: list[Sample] = field(default_factory=list)

    def planned(self, draws: int) -> None:
        self.draws += draws

    def drawn(self, sample: Sample) -> None:
        self.samples.append(sample)
