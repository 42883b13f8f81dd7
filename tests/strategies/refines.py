"""Runs of `self_refine` that its tests share."""

from typing import Any

from entroute.errors import DeadlineExceeded, WorkerFailed
from entroute.protocols import Run
from entroute.strategies.self_refine import SelfRefine, SelfRefineConfig
from entroute.types import ChatRequest
from tests.builders import a_run, a_tier
from tests.fakes import strategy_parts
from tests.scripted import FakeBackend, Script, says

FAILED = WorkerFailed("w", "answered 500")
LATE = DeadlineExceeded("late")


def strategy(chains: int = 1, rounds: int = 4) -> SelfRefine:
    return SelfRefineConfig(chains=chains, rounds=rounds).build(strategy_parts())


def says_that(answer: object, **facts: Any) -> Script:
    return says("The answer ", f"is {answer}.", **facts)


def drawing(*scripts: Script, **facts: Any) -> tuple[FakeBackend, Run]:
    backend = FakeBackend(*scripts)
    return backend, a_run(a_tier("small", backend), **facts)


def turns(request: ChatRequest) -> list[str]:
    """Return what follows the client's own message."""
    return [f"{message['role']}: {message['content']}" for message in request.messages[1:]]
