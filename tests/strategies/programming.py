"""Answers that hold code, and runs on which strategies execute it."""

from collections.abc import Callable
from typing import Any

from entroute.execution import Execution
from entroute.protocols import Run
from tests.builders import a_run, a_tier
from tests.fakes import FakeSandbox, executed
from tests.scripted import FakeBackend, Script, says

TIMED_OUT = Execution("timeout", "", "took longer than 5 s", 5.0)


def code(source: str, **facts: Any) -> Script:
    """Return the script of an answer in a code block."""
    return says("Here:\n```python\n", source, "\n```", **facts)


def prints(value: object, **facts: Any) -> Script:
    """Return the script of a program that prints a value."""
    return code(f"print({value!r})", **facts)


def answers(value: object, **facts: Any) -> Script:
    """Return the script of a reasoned answer."""
    return says("So the answer ", f"is {value}.", **facts)


def doubles(body: str = "return 2 * x", name: str = "double", **facts: Any) -> Script:
    """Return the script of a function of one argument `x`."""
    return code(f"def {name}(x):\n    {body}", **facts)


def running(execute: Callable[[str], Execution | Exception] = executed) -> FakeSandbox:
    """Return a sandbox that runs programs here, or does as it is told."""
    return FakeSandbox(execute)


def drawing(*scripts: Script, large: Script | None = None, **facts: Any) -> tuple[FakeBackend, Run]:
    """Return a small tier of these scripts, and a run on it; on `large` too where it is given."""
    backend = FakeBackend(*scripts)
    tiers = [a_tier("small", backend)]
    if large is not None:
        tiers.append(a_tier("large", large))
    return backend, a_run(*tiers, **facts)


def purposes(run: Run) -> list[str]:
    """Return what each call was for, in the order of reservation."""
    return [charge.purpose for charge in run.ledger.charges]


def spent(run: Run) -> int:
    """Return the completion tokens of all charges."""
    return sum(charge.usage.completion_tokens for charge in run.ledger.charges)
