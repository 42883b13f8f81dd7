"""Time to the first token of two gateways, long prompts, one after the other in pairs.

    python -m loadtest.first_token --gateway plain=URL --gateway warm=URL --prompts GSM8K.jsonl.gz

Every prompt is long and new to the workers' prefix caches, and asked of one gateway only; the pairs
alternate which gateway goes first. Both should run the cascade with a gate that always escalates.
"""

import argparse
import asyncio
import random
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import openai

from loadtest.tasks import load

EXAMPLES = 6
"""Worked questions before the one that is asked."""


def long_prompts(path: Path, count: int, seed: int) -> list[str]:
    """Return prompts of several questions each, no two of them beginning alike."""
    rng = random.Random(seed)
    questions = [str(p.row["question"]) for p in load(path, "gsm8k", count=400, seed=seed)]
    return [
        "\n\n".join(
            [
                f"Case {rng.random()}. Answer the last question only.",
                *rng.sample(questions, EXAMPLES),
            ]
        )
        for _ in range(count)
    ]


async def first_token_s(url: str, prompt: str) -> float:
    """Return the seconds to the first text of a streamed cascade."""
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="unused", timeout=600) as client:
        since = time.perf_counter()
        stream = await client.chat.completions.create(
            model="auto",
            messages=[{"role": "user", "content": prompt}],
            stream=True,
            temperature=0,
            max_tokens=24,
            extra_body={"entroute": {"strategy": "cascade", "cache": "bypass"}},
        )
        seconds = 0.0
        async for chunk in stream:  # to its end: one that is left open holds its connection
            if not seconds and chunk.choices and chunk.choices[0].delta.content:
                seconds = time.perf_counter() - since
    if seconds:
        return seconds
    raise RuntimeError(f"{url}: the stream held no text")


async def measured(gateways: dict[str, str], prompts: Sequence[str]) -> dict[str, list[float]]:
    """Return each gateway's seconds, pair by pair; every gateway meets new prompts only."""
    seconds: dict[str, list[float]] = {name: [] for name in gateways}
    names = list(gateways)
    for number in range(len(prompts) // len(names)):
        order = names[number % len(names) :] + names[: number % len(names)]
        for place, name in enumerate(order):
            prompt = prompts[number * len(names) + place]
            seconds[name].append(await first_token_s(gateways[name], prompt))
            print(f"{name}: {seconds[name][-1]:.2f} s", flush=True)
    return seconds


def main(argv: Sequence[str] | None = None) -> None:
    """Print the medians and their ratio."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.first_token", description=__doc__)
    parser.add_argument("--gateway", action="append", required=True, help="NAME=URL, twice")
    parser.add_argument("--prompts", type=Path, required=True, help="GSM8K rows, .jsonl.gz")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(argv)
    gateways = dict(part.split("=", 1) for part in given.gateway)
    prompts = long_prompts(given.prompts, given.pairs * len(gateways), given.seed)
    seconds = asyncio.run(measured(gateways, prompts))
    for name, values in seconds.items():
        print(f"{name}: median {median(values):.2f} s of {len(values)}")
    first, second = (median(values) for values in seconds.values())
    print(f"ratio of the second to the first: {second / first:.2f}")


if __name__ == "__main__":
    main()
