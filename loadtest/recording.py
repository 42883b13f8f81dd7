"""Record a bank: several independent samples of every prompt from a worker, with their tokens.

    python -m loadtest.recording --worker http://127.0.0.1:8101 --tier small --model small \
        --prompts DIR --counts gsm8k=70,humaneval=50,mbpp=40,p3=40 --samples 0:6 --out small.jsonl

Rows are written as they come; a run that is started again goes on where it stopped. Knows nothing
of gateways or of what is right.
"""

import argparse
import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import httpx
import orjson

from entroute.evaluation.bank import SCHEMA, Sample, read_bank
from entroute.strategies.programs import PROGRAM_LINE
from loadtest.tasks import Prompt, Task, load

FILES: dict[str, tuple[Task, str]] = {
    "gsm8k": ("gsm8k", "gsm8k_test.jsonl.gz"),
    "humaneval": ("humaneval", "humaneval.jsonl.gz"),
    "mbpp": ("mbpp", "mbpp_sanitized.jsonl.gz"),
    "p3": ("p3", "p3_puzzles.jsonl.gz"),
}
RANKS = 5


@dataclass(frozen=True, slots=True)
class Asked:
    """One prompt in one form."""

    prompt: Prompt
    form: str
    message: str


def prompts_of(folder: Path, counts: str, seed: int) -> list[Prompt]:
    """Return the prompts that `task=count,...` names, in seeded order.

    Raises:
        SystemExit: A task is unknown.
    """
    prompts: list[Prompt] = []
    for part in counts.split(","):
        name, _, count = part.partition("=")
        if name not in FILES:
            raise SystemExit(f"{name}: is none of {', '.join(FILES)}")
        task, file = FILES[name]
        prompts += load(folder / file, task, count=int(count), seed=seed)
    return prompts


def asked(prompts: Sequence[Prompt]) -> list[Asked]:
    """Return every prompt in each of its forms; gsm8k has a second one, the program."""
    forms: list[Asked] = []
    for prompt in prompts:
        number = prompt.task == "gsm8k"
        forms.append(Asked(prompt, "reasoning" if number else "code", prompt.message))
        if number:
            forms.append(Asked(prompt, "program", f"{prompt.message}\n\n{PROGRAM_LINE}"))
    return forms


async def record(
    given: argparse.Namespace, todo: Sequence[tuple[Asked, int]], out: IO[bytes]
) -> None:
    """Ask for every missing sample, `given.concurrency` at a time."""
    room, made, since = asyncio.Semaphore(given.concurrency), [0, 0], time.monotonic()
    async with httpx.AsyncClient(base_url=given.worker, timeout=1800) as client:

        async def one(what: Asked, index: int) -> None:
            async with room:
                sample = await _sampled(client, given, what, index)
            out.write(orjson.dumps(asdict(sample)) + b"\n")
            out.flush()
            made[0] += 1
            made[1] += len(sample.tokens)
            if made[0] % 50 == 0:
                pace = made[1] / (time.monotonic() - since)
                print(f"{made[0]} of {len(todo)}, {pace:.0f} tokens a second", flush=True)

        async with asyncio.TaskGroup() as group:
            for what, index in todo:
                group.create_task(one(what, index))


async def _sampled(
    client: httpx.AsyncClient, given: argparse.Namespace, what: Asked, index: int
) -> Sample:
    body = {
        "model": given.model,
        "messages": [{"role": "user", "content": what.message}],
        "temperature": given.temperature,
        "max_tokens": given.max_tokens,
        "logprobs": True,
        "top_logprobs": RANKS,
    }
    since = time.monotonic()
    answer = await client.post("/v1/chat/completions", json=body)
    answer.raise_for_status()
    return sample_of(answer.json(), given.tier, what, index, time.monotonic() - since)


def sample_of(
    answer: dict[str, Any], tier: str, what: Asked, index: int, latency_s: float
) -> Sample:
    """Return a worker's answer as a row of the bank."""
    choice = answer["choices"][0]
    tokens = choice["logprobs"]["content"]
    return Sample(
        prompt=what.prompt.id,
        task=what.prompt.task,
        form=what.form,
        tier=tier,
        index=index,
        message=what.message,
        text=choice["message"]["content"] or "",
        finish_reason=choice["finish_reason"],
        prompt_tokens=answer["usage"]["prompt_tokens"],
        latency_s=round(latency_s, 3),
        tokens=tuple(token["token"] for token in tokens),
        logprobs=tuple(round(token["logprob"], 3) for token in tokens),
        top=tuple(
            tuple(round(other["logprob"], 3) for other in token["top_logprobs"][:RANKS])
            for token in tokens
        ),
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Record what is missing."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.recording", description=__doc__)
    option = parser.add_argument
    option("--worker", required=True, help="its address, without /v1")
    option("--tier", required=True, help="tier that the samples stand for")
    option("--model", required=True, help="model that the worker serves")
    option("--prompts", type=Path, required=True, help="folder of the benchmarks' .jsonl.gz files")
    option("--counts", default="gsm8k=70,humaneval=50,mbpp=40,p3=40", help="prompts of each task")
    option("--forms", default="reasoning,program,code", help="forms to record")
    option("--samples", default="0:4", help="FROM:TO, the draws to record")
    option("--temperature", type=float, default=0.7)
    option("--max-tokens", type=int, default=320, help="of one sample")
    option("--concurrency", type=int, default=32, help="samples in flight")
    option("--seed", type=int, default=0, help="of the order of prompts")
    option("--out", type=Path, required=True, help="bank, .jsonl")
    given = parser.parse_args(argv)
    known = (
        {(s.prompt, s.form, s.index) for s in read_bank(given.out)} if given.out.exists() else set()
    )
    first, last = map(int, given.samples.split(":"))
    forms = [
        f
        for f in asked(prompts_of(given.prompts, given.counts, given.seed))
        if f.form in given.forms.split(",")
    ]
    todo = [
        (form, index)
        for index in range(first, last)
        for form in forms
        if (form.prompt.id, form.form, index) not in known
    ]
    with given.out.open("ab") as out:
        if out.tell() == 0:
            out.write(orjson.dumps({"schema": SCHEMA}) + b"\n")
        asyncio.run(record(given, todo, out))


if __name__ == "__main__":
    main()
