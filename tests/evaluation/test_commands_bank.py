"""`entroute bank` as people run it, against workers that are processes."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from entroute.errors import ConfigurationError, EntrouteError
from entroute.evaluation.bank import read_bank
from entroute.evaluation.commands_bank import register
from loadtest.spawn import FakeWorker, fake_worker
from tests.evaluation.recorded import a_row, prompts_at
from tests.workers import two_workers, worker, worker_processes

__all__ = ["two_workers", "worker", "worker_processes"]

PROGRAM = (
    "import typer; from entroute.evaluation.commands_bank import register; app = typer.Typer(); "
    "app.callback()(lambda: None); register(app); app()"
)


def arguments(folder: Path, url: str, *more: str) -> list[str]:
    """Return a recording of the prompts in a folder."""
    files = ["--prompts", str(folder / "p.jsonl"), "--out", str(folder / "bank.jsonl.gz")]
    return ["bank", *files, "--worker", f"small={url},small", "--max-tokens", "16", *more]


def command(*words: str) -> int:
    """Run the command in this process; return its exit code."""
    app = typer.Typer(pretty_exceptions_enable=False)
    app.callback()(lambda: None)
    register(app)
    try:
        return int(app(list(words), standalone_mode=False) or 0)
    except ExceptionGroup as group:
        ours, _ = group.split(EntrouteError)
        assert ours is not None
        raise ours.exceptions[0] from None


async def run(*words: str) -> int:
    """Run the command as a person would, beside workers of this loop."""
    return await asyncio.to_thread(command, *words)


async def stopped(how: signal.Signals, journal: Path, line: list[str]) -> tuple[int, str]:
    """Record in a process that is sent a signal after some rows; return its code and words."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, *line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    await rows_in(journal, 6)
    process.send_signal(how)
    _, told = await process.communicate()
    return process.returncode or 0, told.decode()


async def rows_in(journal: Path, count: int) -> None:
    """Wait until a journal has so many lines."""
    async with asyncio.timeout(60):
        while lines_in(journal) < count:  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.01)


def lines_in(journal: Path) -> int:
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


async def test_a_bank_is_recorded_judged_and_shown(
    worker: FakeWorker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await worker.script(answers=["The answer is 1."])
    prompts_at(tmp_path / "p.jsonl", [a_row(1), a_row(2), a_row(2, form="other")])
    assert await run(*arguments(tmp_path, worker.url, "--samples", "2", "--summary")) == 0
    bank = read_bank(tmp_path / "bank.jsonl.gz")
    assert len(list(bank)) == 6
    assert {(s.prompt, s.right, s.answer) for s in bank} == {("q1", True, "1"), ("q2", False, "1")}
    assert bank.header.tiers == {"small": "small"}
    assert bank.header.engine.startswith("vllm")
    assert bank.header.command == (
        "entroute bank --prompts p.jsonl --out bank.jsonl.gz --samples 2 --temperature 0.7 "
        f"--max-tokens 16 --worker small={worker.url},small"
    )
    printed = capsys.readouterr().out.split()
    for shown in ("sums", "reasoning", "small", "0.500", "0.000"):
        assert shown in printed
    brief = read_bank(tmp_path / "bank.summary.jsonl.gz")
    assert [s.right for s in brief] == [s.right for s in bank]
    assert brief.header.summary
    sent = [request["body"] for request in await worker.requests()]
    assert all(body["stream"] and "seed" not in body for body in sent)
    assert {body["top_logprobs"] for body in sent} == {5}


async def test_a_recording_that_was_killed_in_mid_write_goes_on(
    worker: FakeWorker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await worker.script(answers=["The answer is 1."], ttft_ms=50)
    prompts_at(tmp_path / "p.jsonl", [a_row(n) for n in range(1, 9)])
    line = arguments(tmp_path, worker.url, "--samples", "3", "--concurrency", "2")
    journal = tmp_path / "bank.jsonl.gz.journal"
    code, _ = await stopped(signal.SIGKILL, journal, line)
    assert code == -signal.SIGKILL
    whole = journal.read_bytes().rstrip(b"\n").splitlines(keepends=True)
    journal.write_bytes(b"".join(whole)[:-30])  # the last row was half written
    kept = len(whole) - 2
    assert not (tmp_path / "bank.jsonl.gz").exists()
    await worker.script(ttft_ms=0)
    await worker.forget()
    assert await run(*line) == 0
    assert "dropped its last row" in capsys.readouterr().err
    assert len(await worker.requests()) == 24 - kept
    assert len({sample.key for sample in read_bank(tmp_path / "bank.jsonl.gz")}) == 24
    assert not journal.exists()
    await worker.forget()
    assert await run(*line) == 0
    assert await worker.requests() == []


async def test_ctrl_c_says_how_to_go_on(worker: FakeWorker, tmp_path: Path) -> None:
    await worker.script(answers=["The answer is 1."], ttft_ms=50)
    prompts_at(tmp_path / "p.jsonl", [a_row(n) for n in range(1, 9)])
    line = arguments(tmp_path, worker.url, "--samples", "3", "--concurrency", "2")
    code, told = await stopped(signal.SIGINT, tmp_path / "bank.jsonl.gz.journal", line)
    assert code == 130
    assert "interrupted; nothing is lost, the same command goes on" in told
    assert "Traceback" not in told


async def test_a_worker_that_dies_costs_nothing_of_what_it_has_answered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts_at(tmp_path / "p.jsonl", [a_row(n) for n in range(1, 9)])
    journal = tmp_path / "bank.jsonl.gz.journal"
    async with fake_worker(model="small", ttft_ms=60, answer="The answer is 1.") as dying:
        line = arguments(tmp_path, dying.url, "--samples", "3", "--concurrency", "2")
        running = asyncio.create_task(run(*line, "--retries", "1"))
        await rows_in(journal, 5)
        os.kill(dying.pid, signal.SIGKILL)
        assert await running == 1
    answered = len(list(read_bank(tmp_path / "bank.jsonl.gz")))
    assert 4 <= answered < 24
    told = " ".join(capsys.readouterr().err.split())
    assert f"{24 - answered} samples are missing" in told
    assert "run the same command: it goes on" in told
    assert "small: q" in told


async def test_a_bank_is_summarised_and_judged_anew(
    worker: FakeWorker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await worker.script(answers=["The answer is 1."])
    prompts_at(tmp_path / "p.jsonl", [a_row(1), a_row(2)])
    line = arguments(tmp_path, worker.url, "--samples", "1")
    await run(*line)
    right = {"check": {"kind": "exact", "answer": "1"}}
    prompts_at(tmp_path / "p.jsonl", [a_row(1), a_row(2, **right)])
    assert await run(*line, "--regrade") == 0
    out, brief = tmp_path / "bank.jsonl.gz", tmp_path / "brief.jsonl.gz"
    assert [sample.right for sample in read_bank(out)] == [True, True]
    assert await run("bank", "--summarise", str(out), "--out", str(brief)) == 0
    assert [sample.text for sample in read_bank(brief)] == ["", ""]
    with pytest.raises(ConfigurationError, match="holds no answers to judge"):
        await run(*arguments(tmp_path, worker.url, "--regrade"), "--out", str(brief))


async def test_what_cannot_be_recorded_is_said_before_anything_is_asked(
    worker: FakeWorker, tmp_path: Path
) -> None:
    prompts_at(tmp_path / "p.jsonl", [a_row(1)])
    line = arguments(tmp_path, worker.url)
    for words, message in [
        (["bank", "--out", "x.jsonl"], "--prompts: give the file that says what is asked"),
        ([*line, "--config", "c.yaml"], "give either --worker or --config"),
        ([*line, "--tier", "huge"], "--tier huge: no tier is named so; small are"),
        ([*line, "--worker", "small=http://127.0.0.1:9,other"], "a tier has one model"),
        ([*line, "--worker", "nonsense"], "write TIER=URL,MODEL"),
        ([*line, "--worker", "a=ftp://x,m"], "must begin with http://"),
        ([*line, "--worker", "gone=http://127.0.0.1:9,m"], "no worker of tier 'gone' serves m at"),
    ]:
        with pytest.raises(ConfigurationError, match=message):
            await run(*words)
    assert await worker.requests() == []
    assert not (tmp_path / "bank.jsonl.gz.journal").exists()


async def test_tiers_of_a_gateways_file_are_recorded(worker: FakeWorker, tmp_path: Path) -> None:
    await worker.script(answers=["The answer is 1."])
    prompts_at(tmp_path / "p.jsonl", [a_row(1)])
    config = tmp_path / "gateway.yaml"
    config.write_text(
        f"tiers: [{{name: tiny, model: small, workers: [{{url: '{worker.url}/v1'}}]}}, "
        "{name: huge, model: big, workers: [{url: 'http://127.0.0.1:9/v1'}]}]"
    )
    files = ["--prompts", str(tmp_path / "p.jsonl"), "--out", str(tmp_path / "bank.jsonl")]
    assert (
        await run("bank", *files, "--config", str(config), "--tier", "tiny", "--samples", "1") == 0
    )
    bank = read_bank(tmp_path / "bank.jsonl")
    assert [sample.tier for sample in bank] == ["tiny"]
    assert bank.header.tiers == {"tiny": "small"}
