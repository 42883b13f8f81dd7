"""`entroute bank` as one function: what is asked of whom, judged how, and kept where."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from entroute.errors import ConfigurationError
from entroute.evaluation.bank import Bank, read_bank, write_bank
from entroute.evaluation.banking import Asker, Recorder, Watcher
from entroute.evaluation.drawing import Failure, Plan
from entroute.evaluation.grading import grader
from entroute.evaluation.journal import Say, header_at, opened_journal
from entroute.evaluation.prompts_file import BankPrompt, PromptsFile
from entroute.evaluation.samples import BankHeader
from entroute.evaluation.sources import Sources, opened_tiers
from entroute.sandbox import BubblewrapConfig, SandboxConfig
from entroute.settings import Settings


@dataclass(frozen=True, slots=True)
class Order:
    """A bank to be recorded.

    Attributes:
        out: Where it goes.
        prompts: What is asked.
        plan: How often, and with which sampling.
        settings: The tiers that are asked.
        command: How to make it again.
        engine: What serves the tiers, in words; None to ask them.
        prompt_logprobs: Whether to ask for the prompts' log-probabilities.
    """

    out: Path
    prompts: PromptsFile
    plan: Plan
    settings: Settings
    command: str
    engine: str | None = None
    prompt_logprobs: bool = False


@dataclass(frozen=True, slots=True)
class Recorded:
    """What came of it.

    Attributes:
        bank: The bank, written.
        failures: Draws that nobody answered.
        unasked: Draws that were not tried, since their tier's workers had stopped answering.
    """

    bank: Bank
    failures: tuple[Failure, ...]
    unasked: int


async def record(
    order: Order, resolve: Callable[[str], Path], watcher: Watcher, say: Say
) -> Recorded:
    """Record what an order asks for and its file does not hold; write the bank.

    Whatever ends this early, what was answered stays in the journal beside the bank.

    Args:
        order: What to record.
        resolve: `Weights.resolve`, for engines.
        watcher: Told how it goes on.
        say: Told what the user should know.

    Raises:
        ConfigurationError: The file was recorded otherwise, a worker does not answer, or programs
            cannot be run here; the message says what to do.
        WeightsError, EngineError: An engine cannot be started.
    """
    clock = time.monotonic
    async with (
        grader(order.prompts, sandbox_of(order.settings), clock) as judge,
        opened_tiers(order.settings, resolve, say) as sources,
    ):
        header = await _header(order, sources)
        with opened_journal(order.out, header, say) as journal:
            header = journal.header
            plan = replace(order.plan, samples=header.samples, hard_trials=header.hard_trials)
            recorder = Recorder(
                plan,
                {name: tier.backend for name, tier in sources.tiers.items()},
                journal,
                grader=judge,
                asker=_asker(sources) if order.prompt_logprobs else None,
                watcher=watcher,
                clock=clock,
            )
            await recorder.run()
            journal.finish(recorder.grades)
    unasked = sum(recorder.unasked.values())
    return Recorded(read_bank(order.out), tuple(recorder.failures), unasked)


async def regrade(bank: Bank, prompts: PromptsFile, sandbox: SandboxConfig) -> int:
    """Judge every sample of a full bank anew and write it in its place; return their number.

    Raises:
        ConfigurationError: It is a summary, prompts are missing, or programs cannot be run here.
    """
    if bank.header.summary:
        raise ConfigurationError(f"{bank.path}: is a summary, which holds no answers to judge")
    async with grader(prompts, sandbox, time.monotonic) as judge:
        grades = await judge.grades(bank)
    again = (replace(s, right=grades[s.key].right, answer=grades[s.key].answer) for s in bank)
    return write_bank(bank.path, replace(bank.header, prompts=prompts.digest), again)


def sandbox_of(settings: Settings) -> SandboxConfig:
    """Return where answers' programs are run: as configured, else in bubblewrap on this machine."""
    return settings.sandbox or BubblewrapConfig()


async def _header(order: Order, sources: Sources) -> BankHeader:
    earlier = header_at(order.out)
    engine = order.engine or (earlier.engine if earlier else await sources.engine())
    return BankHeader(
        tiers=sources.models,
        engine=engine,
        temperature=order.plan.temperature,
        max_tokens=order.plan.max_tokens,
        samples=order.plan.samples,
        prompts=order.prompts.digest,
        command=order.command,
        hard_trials=order.plan.hard_trials,
        seed=order.plan.seed,
    )


def _asker(sources: Sources) -> Asker:
    async def ask(tier: str, prompt: BankPrompt) -> float | None:
        return await sources.prompt_logprob(tier, prompt.messages)

    return ask
