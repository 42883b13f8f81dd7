"""What is recorded of whom, in which order, and what becomes of failures."""

import asyncio
import itertools
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from entroute.errors import ConfigurationError, TierUnavailable, WorkerFailed, WorkerRejected
from entroute.evaluation.bank import Bank, read_bank
from entroute.evaluation.banking import HARD_TARGET, Asker, Recorder
from entroute.evaluation.drawing import Failure, Plan
from entroute.evaluation.grading import Grader
from entroute.evaluation.journal import opened_journal
from entroute.evaluation.prompts_file import PromptsFile
from entroute.evaluation.samples import BankHeader
from entroute.types import Call
from tests.evaluation.recorded import (
    ScriptedBackend,
    Watched,
    a_row,
    number_of,
    prompts_at,
    says,
)
from tests.fakes import FakeAlgebra

RIGHT = "The answer is 1."


def numbers(tmp_path: Path, count: int, **facts: Any) -> PromptsFile:
    return prompts_at(tmp_path / "p.jsonl", [a_row(n, **facts) for n in range(1, count + 1)])


async def recorded(
    tmp_path: Path,
    file: PromptsFile,
    backends: Mapping[str, ScriptedBackend],
    asker: Asker | None = None,
    **facts: Any,
) -> tuple[Bank, Recorder, Watched]:
    """Record into one file, as often as it is called."""
    plan = Plan(file.prompts, **{"pauses_s": (0.0, 0.0), **facts})
    out, watched = tmp_path / "bank.jsonl.gz", Watched()
    header = BankHeader(
        {name: f"{name}-model" for name in backends},
        "made up",
        plan.temperature,
        plan.max_tokens,
        plan.samples,
        file.digest,
        "",
        plan.hard_trials,
    )
    with opened_journal(out, header, print) as journal:
        recorder = Recorder(
            plan,
            backends,
            journal,
            grader=Grader(file, None, FakeAlgebra(), time.monotonic, {}),
            asker=asker,
            watcher=watched,
            clock=time.monotonic,
        )
        await recorder.run()
        journal.finish(recorder.grades)
    return read_bank(out), recorder, watched


async def test_every_prompt_is_drawn_as_often_by_every_tier(tmp_path: Path) -> None:
    tiers = {"small": ScriptedBackend(says(RIGHT)), "large": ScriptedBackend(says(RIGHT))}
    bank, _, watched = await recorded(tmp_path, numbers(tmp_path, 3), tiers, samples=2)
    keys = [sample.key for sample in bank]
    expected = itertools.product(("small", "large"), ("q1", "q2", "q3"), ["reasoning"], (0, 1))
    assert sorted(keys) == sorted(expected)
    assert watched.draws == len(watched.samples) == 12
    assert not any(sample.extra for sample in bank)


async def test_a_row_holds_what_was_answered_and_what_it_is_worth(tmp_path: Path) -> None:
    tiers = {"small": ScriptedBackend(says(RIGHT))}
    bank, _, _ = await recorded(tmp_path, numbers(tmp_path, 2), tiers, samples=1)
    right, wrong = bank
    assert (right.message, right.text, right.finish_reason) == ("Number 1?", RIGHT, "stop")
    assert (right.answer, right.right, wrong.answer, wrong.right) == ("1", True, "1", False)
    assert (right.prompt_tokens, right.completion_tokens) == (9, 4)
    assert (right.ttft_s, right.latency_s) == (0.25, 0.5)
    assert right.tokens == ("The", "answer", "is", "1.")
    assert right.top == ((-0.5, -1.5),) * 4
    assert right.mean_logprob == -0.5
    assert right.entropy is not None
    assert right.prompt_logprob is None


async def test_what_is_asked_is_what_was_planned(tmp_path: Path) -> None:
    backend = ScriptedBackend(says(RIGHT))
    file = prompts_at(tmp_path / "p.jsonl", [a_row(1), a_row(2, max_tokens=7)])
    await recorded(tmp_path, file, {"small": backend}, samples=2, temperature=0.4, max_tokens=99)
    assert [(number_of(c), c.sample, c.max_tokens) for c in backend.calls] == [
        ("1", 0, 99),
        ("2", 0, 7),
        ("1", 1, 99),
        ("2", 1, 7),
    ]
    requests = {(c.request.temperature, c.request.seed, c.top_logprobs) for c in backend.calls}
    assert requests == {(0.4, None, 5)}
    seeded = ScriptedBackend(says(RIGHT))
    await recorded(
        tmp_path, file, {"large": seeded}, samples=1, temperature=0.4, max_tokens=99, seed=5
    )
    assert {c.request.seed for c in seeded.calls} == {5}


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_no_more_are_in_flight_than_allowed(tmp_path: Path, concurrency: int) -> None:
    backend = ScriptedBackend(says(RIGHT))
    await recorded(tmp_path, numbers(tmp_path, 8), {"small": backend}, concurrency=concurrency)
    assert backend.most == concurrency
    assert len(backend.calls) == 32


async def test_only_what_is_missing_is_asked_for(tmp_path: Path) -> None:
    file = numbers(tmp_path, 3)
    await recorded(tmp_path, file, {"small": ScriptedBackend(says(RIGHT))}, samples=1)
    more = ScriptedBackend(says(RIGHT))
    bank, _, watched = await recorded(tmp_path, file, {"small": more}, samples=3)
    assert more.asked == {"1": 2, "2": 2, "3": 2}
    assert len(list(bank)) == 9
    assert watched.draws == 6
    large = ScriptedBackend(says(RIGHT))
    bank, _, _ = await recorded(tmp_path, file, {"large": large}, samples=3)
    assert bank.header.tiers == {"small": "small-model", "large": "large-model"}
    assert len(list(bank)) == 18


def failing(times: int, error: Exception) -> Callable[[Call], str | Exception]:
    """Fail so often for number 2, then answer."""
    left = [times]

    def script(call: Call) -> str | Exception:
        if number_of(call) == "2" and left[0]:
            left[0] -= 1
            return error
        return RIGHT

    return script


async def test_a_draw_that_fails_is_tried_again(tmp_path: Path) -> None:
    backend = ScriptedBackend(failing(2, WorkerFailed("w", "broke off")))
    bank, recorder, _ = await recorded(
        tmp_path, numbers(tmp_path, 3), {"small": backend}, samples=1
    )
    assert backend.asked == {"1": 1, "2": 3, "3": 1}
    assert recorder.failures == []
    assert len(list(bank)) == 3


async def test_a_draw_that_keeps_failing_is_reported_and_the_others_are_kept(
    tmp_path: Path,
) -> None:
    file = numbers(tmp_path, 3)
    backend = ScriptedBackend(failing(9, WorkerFailed("w", "broke off")))
    bank, recorder, _ = await recorded(tmp_path, file, {"small": backend}, samples=1)
    assert recorder.failures == [Failure("small", "q2", "reasoning", 0, "worker w: broke off")]
    assert [sample.prompt for sample in bank] == ["q1", "q3"]
    bank, recorder, _ = await recorded(
        tmp_path, file, {"small": ScriptedBackend(says(RIGHT))}, samples=1
    )
    assert recorder.failures == []
    assert {sample.prompt for sample in bank} == {"q1", "q2", "q3"}


async def test_what_a_worker_refuses_is_not_asked_again(tmp_path: Path) -> None:
    error = WorkerRejected("w", "too long", status=400, param=None, code=None)
    backend = ScriptedBackend(failing(9, error))
    _, recorder, _ = await recorded(
        tmp_path, numbers(tmp_path, 3), {"small": backend}, samples=1, concurrency=1
    )
    assert backend.asked == {"1": 1, "2": 1, "3": 1}
    assert [failure.prompt for failure in recorder.failures] == ["q2"]


async def test_a_tier_that_nobody_answers_for_is_given_up_and_the_other_goes_on(
    tmp_path: Path,
) -> None:
    dead = ScriptedBackend(lambda _: TierUnavailable("small", "refused"))
    tiers = {"small": dead, "large": ScriptedBackend(says(RIGHT))}
    bank, recorder, _ = await recorded(
        tmp_path, numbers(tmp_path, 9), tiers, samples=2, concurrency=2
    )
    assert len(recorder.failures) + recorder.unasked["small"] == 18
    assert len(dead.calls) == 3 * len(recorder.failures) <= 9
    assert [sample.tier for sample in bank] == ["large"] * 18


def right_from(trial: int) -> Callable[[Call], str]:
    """Answer number 1 rightly always, and the others from a trial on."""

    def script(call: Call) -> str:
        late = number_of(call) == "1" or call.sample >= trial
        return f"The answer is {number_of(call)}." if late else "The answer is 0."

    return script


async def test_hard_prompts_get_more_trials_until_enough_are_right(tmp_path: Path) -> None:
    backend = ScriptedBackend(right_from(6))
    bank, _, watched = await recorded(
        tmp_path, numbers(tmp_path, 2), {"small": backend}, samples=4, hard_trials=20
    )
    assert backend.asked == {"1": 4, "2": 6 + HARD_TARGET}
    extra = [(sample.prompt, sample.index) for sample in bank if sample.extra]
    assert extra == [("q2", index) for index in range(4, 6 + HARD_TARGET)]
    assert watched.draws == len(watched.samples) == 12
    assert bank.header.hard_trials == 20


async def test_hopeless_prompts_stop_at_the_cap_also_when_the_recording_was_stopped(
    tmp_path: Path,
) -> None:
    file = numbers(tmp_path, 2)
    facts: dict[str, Any] = {"samples": 4, "hard_trials": 7}
    first = ScriptedBackend(right_from(99))
    await recorded(tmp_path, file, {"small": first}, **facts)
    assert first.asked == {"1": 4, "2": 7}
    again = ScriptedBackend(right_from(99))
    bank, _, _ = await recorded(tmp_path, file, {"small": again}, **facts)
    assert again.calls == []
    assert len(list(bank)) == 11
    with pytest.raises(ConfigurationError, match="--samples cannot be raised to 6"):
        await recorded(tmp_path, file, {"small": again}, samples=6, hard_trials=7)


async def test_prompts_without_a_check_are_not_hard(tmp_path: Path) -> None:
    backend = ScriptedBackend(says("Hm."))
    file = numbers(tmp_path, 1, check=None)
    await recorded(tmp_path, file, {"small": backend}, samples=2, hard_trials=9)
    assert backend.asked == {"1": 2}


async def test_how_likely_a_prompt_is_is_asked_once_a_tier(tmp_path: Path) -> None:
    asked: list[tuple[str, str]] = []

    async def ask(tier: str, prompt: Any) -> float | None:
        asked.append((tier, prompt.id))
        await asyncio.sleep(0.01)
        return None if tier == "large" else -1.5

    file = numbers(tmp_path, 2)
    tiers = {"small": ScriptedBackend(says(RIGHT)), "large": ScriptedBackend(says(RIGHT))}
    bank, _, _ = await recorded(tmp_path, file, tiers, ask, samples=3)
    assert sorted(asked) == [("large", "q1"), ("large", "q2"), ("small", "q1"), ("small", "q2")]
    assert {(sample.tier, sample.prompt_logprob) for sample in bank} == {
        ("small", -1.5),
        ("large", None),
    }
    asked.clear()
    bank, _, _ = await recorded(tmp_path, file, {"small": tiers["small"]}, ask, samples=4)
    assert asked == []
    assert {s.prompt_logprob for s in bank if s.tier == "small"} == {-1.5}


async def test_a_bank_of_other_prompts_is_not_gone_on_with(tmp_path: Path) -> None:
    await recorded(tmp_path, numbers(tmp_path, 2), {"small": ScriptedBackend(says(RIGHT))})
    tiers = {"small": ScriptedBackend(says(RIGHT))}
    with pytest.raises(ExceptionGroup) as error:
        await recorded(tmp_path, numbers(tmp_path, 1), tiers)
    assert error.group_contains(ConfigurationError, match=r"'q2' \(reasoning\) is in the bank and")
    with pytest.raises(ExceptionGroup) as error:
        await recorded(tmp_path, numbers(tmp_path, 2, question="Number two?"), tiers)
    assert error.group_contains(ConfigurationError, match="was asked in other words")
