"""A bank is recorded from a worker and goes on where it stopped."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from entroute.evaluation.bank import SCHEMA, read_bank
from entroute.strategies.programs import PROGRAM_LINE
from loadtest.recording import RANKS, Source, asked, main, prompts_of, record
from loadtest.spawn import FakeWorker, fake_worker
from tests.loadtest.puzzles import folder_of, sums


async def recorded(worker: FakeWorker, folder: Path, out: Path, *more: str) -> None:
    """Run the command as a person would."""
    line = ["--worker", worker.url, "--tier", "small", "--model", "small", "--out", str(out)]
    counts = ["--counts", "gsm8k=2,mbpp=1", "--prompts", str(folder)]
    await asyncio.to_thread(main, [*line, *counts, "--samples", "0:2", *more])


async def test_every_form_of_every_prompt_is_drawn_with_its_tokens(
    worker: FakeWorker, tmp_path: Path
) -> None:
    await worker.script(answers=["The answer is 1."], certainty=[0.5])
    out = tmp_path / "small.jsonl"
    await recorded(worker, folder_of(tmp_path, 2), out, "--max-tokens", "3", "--temperature", "0.4")
    samples = list(read_bank(out))
    keys = {(sample.prompt, sample.form, sample.index) for sample in samples}
    forms = {("g0", "reasoning"), ("g0", "program"), ("g1", "reasoning"), ("g1", "program")}
    assert keys == {(*form, index) for form in {*forms, ("m0", "code")} for index in (0, 1)}
    assert len(samples) == 10
    for sample in samples:
        assert (sample.text, sample.finish_reason) == ("The answer is", "length")
        assert "".join(sample.tokens) == sample.text
        assert sample.logprobs == (-0.693,) * 3
        assert [len(top) for top in sample.top] == [RANKS] * 3
        assert sample.prompt_tokens > 0
        assert sample.tier == "small"
    sent = [request["body"] for request in await worker.requests()]
    assert {(body["temperature"], body["max_tokens"]) for body in sent} == {(0.4, 3)}
    messages = [body["messages"][0]["content"] for body in sent]
    assert sorted(messages) == sorted(sample.message for sample in samples)


async def test_a_run_that_is_started_again_asks_only_for_what_is_missing(
    worker: FakeWorker, tmp_path: Path
) -> None:
    folder, out = folder_of(tmp_path, 2), tmp_path / "small.jsonl"
    await recorded(worker, folder, out)
    lines = out.read_bytes().splitlines(keepends=True)
    # The run was stopped with seven rows on disk and the eighth half written.
    out.write_bytes(b"".join(lines[:8]) + lines[8][:40])
    await worker.forget()
    await recorded(worker, folder, out)
    assert len(await worker.requests()) == 3
    assert out.read_bytes().startswith(b"".join(lines[:8]))
    keys = [(sample.prompt, sample.form, sample.index) for sample in read_bank(out)]
    assert len(keys) == len(set(keys)) == 10
    await worker.forget()
    await recorded(worker, folder, out)
    assert await worker.requests() == []


async def test_a_file_without_a_header_yet_is_given_one(worker: FakeWorker, tmp_path: Path) -> None:
    folder, out = folder_of(tmp_path, 2), tmp_path / "small.jsonl"
    out.write_bytes(f'{{"schema": "{SCHEMA}'.encode())
    await recorded(worker, folder, out)
    assert len(list(read_bank(out))) == 10


async def test_samples_of_one_tier_are_not_taken_for_anothers(
    worker: FakeWorker, tmp_path: Path
) -> None:
    folder, out = folder_of(tmp_path, 2), tmp_path / "both.jsonl"
    await recorded(worker, folder, out)
    await recorded(worker, folder, out, "--tier", "large")
    assert sorted(sample.tier for sample in read_bank(out)) == ["large"] * 10 + ["small"] * 10


async def test_only_the_forms_that_were_named_are_recorded(
    worker: FakeWorker, tmp_path: Path
) -> None:
    folder, out = folder_of(tmp_path, 2), tmp_path / "small.jsonl"
    await recorded(worker, folder, out, "--forms", "program")
    assert {(sample.form, sample.prompt) for sample in read_bank(out)} == {
        ("program", "g0"),
        ("program", "g1"),
    }


async def test_a_worker_that_fails_ends_the_run_and_keeps_what_it_gave(tmp_path: Path) -> None:
    short, _ = asked(sums(1))
    long = replace(short, message="word " * 3000)
    out = tmp_path / "rows.jsonl"
    async with fake_worker(model="small", max_model_len=2000) as worker:
        source = Source(worker.url, "small", "small", concurrency=1)
        todo = [(short, 0), (short, 1), (long, 0), (short, 2)]
        with out.open("wb") as rows, pytest.raises(ExceptionGroup) as failed:
            await record(source, todo, rows)
    assert failed.group_contains(httpx.HTTPStatusError)
    assert [json.loads(line)["index"] for line in out.read_bytes().splitlines()] == [0, 1]


def test_a_question_with_a_number_for_an_answer_has_a_second_form() -> None:
    reasoning, program = asked(sums(1))
    assert (reasoning.form, program.form) == ("reasoning", "program")
    assert program.message == f"{reasoning.message}\n\n{PROGRAM_LINE}"


def test_an_unknown_task_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="chess: is none of gsm8k"):
        prompts_of(folder_of(tmp_path, 1), "gsm8k=1,chess=2", 0)


def test_prompts_of_several_tasks_come_together(tmp_path: Path) -> None:
    prompts = prompts_of(folder_of(tmp_path, 3), "gsm8k=2,humaneval=1,mbpp=1,p3=1", 0)
    assert [prompt.task for prompt in prompts] == ["gsm8k", "gsm8k", "humaneval", "mbpp", "p3"]
