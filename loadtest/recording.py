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
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

import httpx
import orjson

from entroute.evaluation.bank import BankHeader, Sample, read_bank, write_bank
from entroute.strategies.programs import PROGRAM_LINE
from loadtest.tasks import Prompt, Task, load

FILES: dict[str, tuple[Task, str]] = {
    "gsm8k": ("gsm8k", "gsm8k_test.jsonl.gz"),
    "humaneval": ("humaneval", "humaneval.jsonl.gz"),
    "mbpp": ("mbpp", "mbpp_sanitized.jsonl.gz"),
    "p3": ("p3", "p3_puzzles.jsonl.gz"),
}
RANKS = 5
TIMEOUT_S = 1800.0


@dataclass(frozen=True, slots=True)
class Asked:
    """One prompt in one form."""

    prompt: Prompt
    form: str
    message: str


@dataclass(frozen=True, slots=True)
class Source:
    """Where samples come from and how they are asked for.

    Attributes:
        worker: Its address, without /v1.
        tier: Tier that the samples stand for.
        model: Model that the worker serves.
        temperature: Of every sample.
        max_tokens: Of one sample.
        concurrency: Samples in flight.
    """

    worker: str
    tier: str
    model: str
    temperature: float = 0.7
    max_tokens: int = 320
    concurrency: int = 32


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


async def record(source: Source, todo: Sequence[tuple[Asked, int]], out: IO[bytes]) -> None:
    """Ask for every sample of `todo`, a form and its index each, and write it as it comes.

    Raises:
        ExceptionGroup: The worker failed; what it had answered is written.
    """
    room, since, tokens, rows = asyncio.Semaphore(source.concurrency), time.monotonic(), 0, 0
    async with httpx.AsyncClient(base_url=source.worker, timeout=TIMEOUT_S) as client:

        async def one(what: Asked, index: int) -> None:
            nonlocal tokens, rows
            async with room:
                sample = await _sampled(client, source, what, index)
            out.write(orjson.dumps(asdict(sample)) + b"\n")
            out.flush()
            rows, tokens = rows + 1, tokens + len(sample.tokens)
            if rows % 50 == 0:
                pace = tokens / (time.monotonic() - since)
                print(f"{rows} of {len(todo)}, {pace:.0f} tokens a second", flush=True)

        async with asyncio.TaskGroup() as group:
            for what, index in todo:
                group.create_task(one(what, index))


async def _sampled(client: httpx.AsyncClient, source: Source, what: Asked, index: int) -> Sample:
    body = {
        "model": source.model,
        "messages": [{"role": "user", "content": what.message}],
        "temperature": source.temperature,
        "max_tokens": source.max_tokens,
        "logprobs": True,
        "top_logprobs": RANKS,
    }
    since = time.monotonic()
    answer = await client.post("/v1/chat/completions", json=body)
    answer.raise_for_status()
    return sample_of(answer.json(), source.tier, what, index, time.monotonic() - since)


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


def missing(
    forms: Sequence[Asked], indices: range, tier: str, path: Path
) -> list[tuple[Asked, int]]:
    """Return what a bank of a tier lacks, draw after draw.

    A last row that was cut off when an earlier run was stopped is taken off the file.
    """
    known: set[tuple[str, str, str, int]] = set()
    if path.exists():
        written = path.read_bytes()
        whole = written.rfind(b"\n") + 1
        if whole < len(written):
            with path.open("r+b") as bank:
                bank.truncate(whole)
    if path.exists() and path.stat().st_size:
        known = {(s.tier, s.prompt, s.form, s.index) for s in read_bank(path)}
    return [
        (form, index)
        for index in indices
        for form in forms
        if (tier, form.prompt.id, form.form, index) not in known
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Record what is missing."""
    given = _parser().parse_args(argv)
    source = Source(
        worker=given.worker,
        tier=given.tier,
        model=given.model,
        temperature=given.temperature,
        max_tokens=given.max_tokens,
        concurrency=given.concurrency,
    )
    names = given.forms.split(",")
    prompts = prompts_of(given.prompts, given.counts, given.seed)
    forms = [form for form in asked(prompts) if form.form in names]
    first, last = map(int, given.samples.split(":"))
    todo = missing(forms, range(first, last), source.tier, given.out)
    _head(source, given.out, len(range(first, last)))
    with given.out.open("ab") as out:
        asyncio.run(record(source, todo, out))


def _head(source: Source, path: Path, samples: int) -> None:
    """Give a file a header that knows the tier."""
    if path.exists() and path.stat().st_size:
        bank = read_bank(path)
        tiers = {**bank.header.tiers, source.tier: source.model}
        write_bank(path, replace(bank.header, tiers=tiers), bank)
        return
    header = BankHeader(
        tiers={source.tier: source.model},
        engine="unknown engine",
        temperature=source.temperature,
        max_tokens=source.max_tokens,
        samples=samples,
        prompts="",
        command="python -m loadtest.recording",
    )
    write_bank(path, header, [])


def _parser() -> argparse.ArgumentParser:
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
    return parser


if __name__ == "__main__":
    main()
