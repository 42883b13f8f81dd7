"""An equal program is run once, by whichever gateway, for one tenant."""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from entroute.cache.executions import KeptExecutions, changing
from entroute.errors import SandboxUnavailable, StoreUnavailable
from entroute.execution import Execution, Repeat
from entroute.protocols import Run
from entroute.stores import Store
from entroute.stores.memory import MemoryStore
from entroute.strategies.code_cluster import CodeClusterConfig
from entroute.strategies.cot_pot import CotPotConfig
from entroute.types import Principal
from entroute.verifiers import build_verifier
from entroute.verifiers.parts import VerifierParts
from tests.builders import a_completion, a_request, settle
from tests.cache.caches import LARGE
from tests.fakes import FakeAlgebra, FakeSandbox, executed, no_task_left, strategy_parts
from tests.scripted import FakeClock
from tests.strategies.programming import answers, doubles, drawing, prints, running

__all__ = ["no_task_left"]

MINE = Repeat("mine")
PROMPT = "Write `double`.\n\nassert double(2) == 4\nassert double(5) == 10"


class DeadStore(MemoryStore):
    """A store that cannot be reached."""

    def __init__(self) -> None:
        super().__init__(LARGE, FakeClock())

    async def get(self, key: str) -> bytes | None:
        """Raise."""
        raise StoreUnavailable("dead")

    async def put(self, key: str, value: bytes, ttl_s: float) -> None:
        """Raise."""
        raise StoreUnavailable("dead")


class SlowSandbox(FakeSandbox):
    """Runs programs when it is told to."""

    def __init__(self) -> None:
        super().__init__(executed)
        self.go = asyncio.Event()
        self.cancelled = 0

    async def run(
        self, source: str, *, stdin: str = "", wall_s: float = 10.0, repeat: Repeat | None = None
    ) -> Execution:
        """Wait, then run."""
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return await super().run(source)


def keeping(
    store: Store, execute: Callable[[str], Execution | Exception] = executed, **facts: Any
) -> tuple[KeptExecutions, FakeSandbox]:
    """Return what one gateway runs programs with, and the sandbox below."""
    sandbox = facts.pop("sandbox", None) or running(execute)
    return KeptExecutions(sandbox, store, 60.0, facts.pop("where", "here"), **facts), sandbox


async def test_an_equal_program_is_run_once_for_all_gateways(store: Store) -> None:
    first, ran = keeping(store)
    second, again = keeping(store)
    done = await first.run("print(42)", repeat=MINE)
    assert await second.run("print(42)", wall_s=3.0, repeat=MINE) == done
    assert (done.stdout, len(ran.sources), again.sources) == ("42\n", 1, [])
    assert (first.counts["miss"], second.counts["hit"]) == (1, 1)


async def test_its_own_word_is_new_in_every_run(store: Store) -> None:
    source = "print('{0} ok')\nprint('no {0}')"
    first, _ = keeping(store)
    second, again = keeping(store)
    await first.run(source.format("a1b2"), repeat=Repeat("mine", "a1b2"))
    done = await second.run(source.format("c3d4"), repeat=Repeat("mine", "c3d4"))
    assert (done.stdout, again.sources) == ("c3d4 ok\nno c3d4\n", [])


@pytest.mark.parametrize(
    ("source", "stdin", "repeat", "where"),
    [
        ("print(43)", "", MINE, "here"),
        ("print(42)", "in", MINE, "here"),
        ("print(42)", "", Repeat("other"), "here"),
        ("print(42)", "", MINE, "there"),
        ("print(42)", "", None, "here"),
    ],
)
async def test_anything_else_is_run(
    store: Store, source: str, stdin: str, repeat: Repeat | None, where: str
) -> None:
    first, _ = keeping(store)
    await first.run("print(42)", repeat=MINE)
    second, again = keeping(store, where=where)
    await second.run(source, stdin=stdin, repeat=repeat)
    assert len(again.sources) == 1


async def test_tenants_share_where_that_is_configured(store: Store) -> None:
    first, _ = keeping(store, across_tenants=True)
    second, again = keeping(store, across_tenants=True)
    await first.run("print(42)", repeat=MINE)
    await second.run("print(42)", repeat=Repeat("other"))
    assert again.sources == []


@pytest.mark.parametrize("status", ["timeout", "killed"])
async def test_a_run_that_was_ended_is_run_again(store: Store, status: Any) -> None:
    programs, ran = keeping(store, lambda _: Execution(status, "4", "too long", 1.0))
    for _ in range(2):
        assert (await programs.run("print(42)", repeat=MINE)).status == status
    assert len(ran.sources) == 2


async def test_a_program_that_fails_by_itself_is_not_run_again(store: Store) -> None:
    programs, ran = keeping(store)
    runs = [await programs.run("1 / 0", repeat=MINE) for _ in range(2)]
    assert [(run.status, "ZeroDivisionError" in run.error) for run in runs] == [("error", True)] * 2
    assert len(ran.sources) == 1


async def test_a_run_that_took_longer_than_one_may_is_no_answer_to_it(store: Store) -> None:
    programs, ran = keeping(store, lambda _: Execution("ok", "42\n", "", 5.0))
    await programs.run("print(42)", wall_s=10.0, repeat=MINE)
    await programs.run("print(42)", wall_s=2.0, repeat=MINE)
    await programs.run("print(42)", wall_s=6.0, repeat=MINE)
    assert len(ran.sources) == 2


@pytest.mark.parametrize(
    "source",
    [
        "import random\nprint(random.random())",
        "import math, time",
        "from datetime import date",
        "code = 'import math\\nfrom random import choice'",
        'code = "\\"def f():\\\\n    import uuid as u\\""',
        "__import__('time')",
        "import os\nos.urandom(4)",
    ],
)
async def test_a_program_that_may_end_otherwise_is_always_run(store: Store, source: str) -> None:
    programs, ran = keeping(store, lambda _: Execution("ok"))
    for _ in range(2):
        await programs.run(source, repeat=MINE)
    assert (len(ran.sources), programs.counts["changing"]) == (2, 2)


@pytest.mark.parametrize("source", ["import math", "time = 3", "random_walk(uuid)", "import os"])
def test_names_alone_are_no_clocks(source: str) -> None:
    assert not changing(source)


async def test_a_sandbox_that_is_down_stays_a_failure(store: Store) -> None:
    programs, ran = keeping(store, lambda _: SandboxUnavailable("down"))
    for _ in range(2):
        with pytest.raises(SandboxUnavailable):
            await programs.run("print(42)", repeat=MINE)
    assert len(ran.sources) == 2


async def test_a_store_that_is_away_costs_only_the_run() -> None:
    programs, ran = keeping(DeadStore())
    for _ in range(2):
        assert (await programs.run("print(42)", repeat=MINE)).stdout == "42\n"
    assert (len(ran.sources), programs.counts["error"]) == (2, 4)


async def test_what_cannot_be_read_is_counted_and_run() -> None:
    class Garbage(MemoryStore):
        async def get(self, key: str) -> bytes | None:
            return b"garbage"

    programs, ran = keeping(Garbage(LARGE, FakeClock()))
    assert (await programs.run("print(42)", repeat=MINE)).stdout == "42\n"
    assert (len(ran.sources), programs.counts["damaged"]) == (1, 1)


async def test_a_client_that_wants_fresh_results_replaces_what_was_kept(store: Store) -> None:
    said = iter("abc")
    programs, ran = keeping(store, lambda _: Execution("ok", next(said)))
    for mode in ("default", "refresh", "default", "bypass", "force"):
        await programs.run("print(42)", repeat=Repeat.of("mine", mode))
    assert len(ran.sources) == 3
    assert (await programs.run("print(42)", repeat=MINE)).stdout == "b"
    assert (programs.counts["hit"], programs.counts["fresh"]) == (3, 1)


async def test_equal_programs_under_way_are_one_run(store: Store) -> None:
    slow = SlowSandbox()
    programs, _ = keeping(store, sandbox=slow)
    source = "print('{0} 42')"
    asking = [
        asyncio.create_task(programs.run(source.format(word), repeat=Repeat("mine", word)))
        for word in ("a1b2", "c3d4", "e5f6")
    ]
    await settle()
    asking[0].cancel()  # who asked first need not be who waits longest
    slow.go.set()
    done = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(done[0], asyncio.CancelledError)
    assert [run.stdout for run in done[1:] if isinstance(run, Execution)] == [
        "c3d4 42\n",
        "e5f6 42\n",
    ]
    assert (len(slow.sources), programs.counts["shared"]) == (1, 2)


async def test_a_run_that_nobody_waits_for_is_stopped(store: Store) -> None:
    slow = SlowSandbox()
    programs, _ = keeping(store, sandbox=slow)
    asking = [asyncio.create_task(programs.run("print(42)", repeat=MINE)) for _ in range(2)]
    await settle()
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    assert (slow.cancelled, slow.sources) == (1, [])


def clustering(tenant: str = "mine", seed: int = 0) -> Run:
    """Return a run of three programs of which two do the same."""
    scripts = (doubles(), doubles("return x + x"), doubles("return x * x"))
    _, run = drawing(*scripts, request=a_request(PROMPT), principal=Principal(tenant))
    run.rng = Random(seed)  # noqa: S311 - a test repeats itself
    return run


async def test_a_second_cluster_of_the_same_programs_runs_none(store: Store) -> None:
    chosen = []
    for seed in range(2):
        programs, ran = keeping(store)
        strategy = CodeClusterConfig(samples=3).build(strategy_parts(programs))
        outcome = await strategy.run(clustering(seed=seed))
        chosen.append((outcome.choices[0].content, [v.answer for v in outcome.verdicts]))
    assert chosen[0] == chosen[1]
    assert ran.sources == []
    others, ran = keeping(store)
    await CodeClusterConfig(samples=3).build(strategy_parts(others)).run(clustering("other"))
    assert len(ran.sources) == 2


async def test_programs_that_print_their_answer_are_not_run_again(store: Store) -> None:
    for _ in range(2):
        programs, ran = keeping(store)
        _, run = drawing(prints(42), answers(42), prints(42))
        outcome = await CotPotConfig().build(strategy_parts(programs)).run(run)
        assert "42" in outcome.choices[0].content
    assert ran.sources == []


async def test_a_verifiers_tests_are_not_run_again(store: Store) -> None:
    candidate = a_completion("```python\ndef double(x):\n    return 2 * x\n```")
    option = {"kind": "tests", "tests": "assert double(2) == 4\nassert double(1) == 3"}
    scores = []
    for seed in range(2):
        programs, ran = keeping(store)
        parts = VerifierParts(FakeAlgebra(), clustering(seed=seed), programs)
        (verdict,) = await build_verifier(option, parts).score(a_request(), [candidate])
        scores.append(verdict.score)
    assert (scores, ran.sources) == ([0.5, 0.5], [])
