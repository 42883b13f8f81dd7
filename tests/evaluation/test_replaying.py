import asyncio
import threading
import time
from dataclasses import replace
from random import Random

import pytest

from entroute.errors import WorkerRejected
from entroute.evaluation.bank import Sample
from entroute.evaluation.replaying import CHUNK, RecordedSandbox, ReplayBackend
from entroute.evaluation.virtual_time import VirtualLoop, run_virtually
from entroute.execution import Execution, Repeat
from entroute.types import Completion
from tests.builders import a_call, a_request, read
from tests.evaluation.recorded import SAMPLE

LONG = replace(
    SAMPLE,
    message="How many?",
    text="w" * 20,
    latency_s=10.0,
    tokens=("w",) * 20,
    logprobs=(-0.1,) * 20,
    top=((-0.1, -2.5),) * 20,
)
ASKED = a_request("How many?")


def a_bank(samples: list[Sample], seed: int) -> ReplayBackend:
    return ReplayBackend(samples, Random(seed))  # noqa: S311 - a test repeats itself


def test_hours_pass_at_once_and_in_order() -> None:
    async def main() -> tuple[list[str], float]:
        seen: list[str] = []

        async def wake(after: float, name: str) -> None:
            await asyncio.sleep(after)
            seen.append(name)

        await asyncio.gather(wake(7200, "late"), wake(3600, "early"))
        return seen, asyncio.get_running_loop().time()

    since = time.monotonic()
    seen, now = run_virtually(main())
    assert seen == ["early", "late"]
    assert now == pytest.approx(7200)
    assert time.monotonic() - since < 5


def test_real_work_takes_its_real_time() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        with loop.real_time():
            await asyncio.to_thread(time.sleep, 0.05)
        return loop.time()

    assert run_virtually(main()) == pytest.approx(0.05, abs=0.04)


def test_a_sample_comes_at_the_pace_it_was_recorded_at() -> None:
    async def main() -> tuple[list[int], Completion, float]:
        backend = a_bank([LONG], seed=0)
        deltas, completion = await read(backend.stream(a_call(ASKED, top_logprobs=5)))
        loop = asyncio.get_running_loop()
        return [len(delta.logprobs) for delta in deltas], completion, loop.time()

    sizes, completion, now = run_virtually(main())
    assert sizes == [CHUNK, CHUNK, 20 - 2 * CHUNK]
    assert (completion.content, completion.usage.completion_tokens) == (LONG.text, 20)
    assert now == pytest.approx(10.0)


def test_a_cap_cuts_a_sample_and_says_so() -> None:
    backend = a_bank([LONG], seed=0)
    _, completion = run_virtually(read(backend.stream(a_call(ASKED, max_tokens=10))))
    assert (completion.finish_reason, completion.usage.completion_tokens) == ("length", 10)
    assert completion.content == "w" * 10


def test_samples_are_drawn_without_replacement_until_they_are_shuffled() -> None:
    samples = [replace(LONG, index=index, text=str(index)) for index in range(4)]
    backend = a_bank(samples, seed=1)

    async def main() -> list[str]:
        return [(await backend.complete(a_call(ASKED))).content for _ in range(4)]

    first = run_virtually(main())
    assert sorted(first) == ["0", "1", "2", "3"]
    with pytest.raises(WorkerRejected, match="no recorded sample is left"):
        run_virtually(backend.complete(a_call(ASKED)))
    backend.shuffle()
    assert sorted(run_virtually(main())) == sorted(first)


def test_a_prompt_that_was_not_recorded_finds_no_sample() -> None:
    backend = a_bank([LONG], seed=0)
    with pytest.raises(WorkerRejected):
        run_virtually(backend.complete(a_call(a_request("Something else"))))


class SlowSandbox:
    """Takes real time for every program."""

    def __init__(self) -> None:
        self.runs = 0

    async def run(
        self, source: str, *, stdin: str = "", wall_s: float = 10.0, repeat: Repeat | None = None
    ) -> Execution:
        self.runs += 1
        await asyncio.sleep(0.05)
        return Execution("ok", source, seconds=0.5)


def test_a_program_runs_once_and_takes_its_time_again() -> None:
    home = asyncio.new_event_loop()
    thread = threading.Thread(target=home.run_forever)
    thread.start()
    slow = SlowSandbox()

    async def main() -> list[float]:
        sandbox, loop = RecordedSandbox(slow, home), asyncio.get_running_loop()
        await sandbox.run("1")
        between = loop.time()
        await sandbox.run("1")
        return [between, loop.time() - between]

    try:
        first, second = run_virtually(main())
    finally:
        home.call_soon_threadsafe(home.stop)
        thread.join()
        home.close()
    assert slow.runs == 1
    assert first == pytest.approx(0.05, abs=0.04)
    assert second == pytest.approx(0.5)
