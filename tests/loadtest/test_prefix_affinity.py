"""The bench of prefix affinity, over fake workers that cache as vLLM does."""

from argparse import Namespace
from contextlib import AsyncExitStack

import pytest
from rich.console import Console

from loadtest.conversations import Heard
from loadtest.prefix_affinity import Counters, Measured, run, shown
from loadtest.spawn import fake_worker

ASKED = {
    "conversations": 8,
    "turns": 3,
    "words": [100, 150],
    "max_tokens": 4,
    "concurrency": 2,
    "rounds": 1,
    "seed": 0,
    "model": "small",
    "arms": ["prefix_affinity", "round_robin"],
}


async def test_workers_find_more_where_conversations_return_to_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with AsyncExitStack() as stack:
        workers = [
            await stack.enter_async_context(fake_worker(model="small", ttft_ms=1)) for _ in range(3)
        ]
        found = await run(Namespace(**ASKED, workers=[worker.url for worker in workers]))
    (affinity,), (turns,) = found["prefix_affinity"], found["round_robin"]
    assert affinity.heard.errors == turns.heard.errors == 0
    assert len(affinity.heard.ttfts) == affinity.answered == 24
    assert affinity.hit_share > turns.hit_share + 0.1
    assert turns.imbalance == 1
    assert capsys.readouterr().out.count('"hit_share"') == 2


def test_the_report_says_times_as_ratios() -> None:
    one = Measured(Heard([0.1, 0.3], errors=1), [Counters(100, 80, 3), Counters(100, 40, 1)])
    other = Measured(Heard([0.4]), [Counters(10, 0, 1)])
    console = Console(width=100)
    with console.capture() as printed:
        console.print(shown({"prefix_affinity": [one], "round_robin": [other]}))
    row = next(line for line in printed.get().splitlines() if "prefix_affinity" in line)
    assert row.replace("│", " ").split() == ["prefix_affinity", "4", "0.600", "0.50", "1.50", "1"]
