"""One request for every built-in strategy that it answers with all it has, and its gateways."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from loadtest.spawn import FakeWorker
from tests.api.conftest import Client, Workers, eventually

SUM = "What is 17 * 3? End with the answer as a number."
FUNCTION = (
    "Write a Python function double(n) that returns twice its argument.\n"
    ">>> double(2)\n4\n>>> double(5)\n10\n"
)
SAID = "Three times seventeen. The answer is 51."
PROGRAM = "```python\nprint(17 * 3)\n```"
CODE = "```python\ndef double(n):\n    return 2 * n\n```"

BUBBLEWRAP: dict[str, Any] = {"kind": "bubblewrap", "workers": 2, "warm": 1}
"""A small sandbox; its programs need little."""

RULES = [
    {"contains": "prints only the final value", "answer": PROGRAM},
    {"contains": "double(n)", "answer": CODE},
    {"contains": "17 * 3", "answer": SAID},
    {"contains": "Look for mistakes", "answer": SAID},
]
"""What both workers say to the prompts of these tests."""


@dataclass(frozen=True, slots=True)
class Way:
    """A strategy, and a request that suits it.

    Attributes:
        kind: The strategy.
        prompt: What is asked.
        answer: What the client must read.
        options: Further entroute options.
        model: As the client writes it.
        stops: Reasons to stop that the workers' answers leave it.
        sandboxed: Whether it runs programs.
    """

    kind: str
    prompt: str = SUM
    answer: str = SAID
    options: Mapping[str, Any] = field(default_factory=dict)
    model: str = "auto"
    stops: tuple[str, ...] = ("settled",)
    sandboxed: bool = False

    def entroute(self, **more: Any) -> dict[str, Any]:
        """Return the request's own options."""
        return {"strategy": self.kind, "explain": True, **self.options, **more}


EXACT = {"verifier": {"kind": "exact", "answer": "51"}}

WAYS = (
    Way("single", stops=("exhausted", "settled")),
    Way("cascade", stops=("confident",)),
    Way("self_consistency"),
    Way("adaptive_consistency"),
    Way("esc"),
    Way("reasc"),
    Way("best_of_n", options=EXACT, stops=("verified",)),
    Way("rejection", options=EXACT, stops=("verified",)),
    Way("short_m_at_k"),
    Way("self_refine"),
    Way("program_first", answer="The answer is 51.", sandboxed=True),
    Way("cot_pot", stops=("verified",), sandboxed=True),
    Way("verify_then_escalate", FUNCTION, CODE, stops=("verified",), sandboxed=True),
    Way("code_cluster", FUNCTION, CODE, stops=("settled", "verified"), sandboxed=True),
    Way("entropy_switch"),
    Way("random_switch", stops=("settled", "escalated")),
)

every_way = pytest.mark.parametrize("way", WAYS, ids=[way.kind for way in WAYS])


async def scripted(workers: Workers, **changes: Any) -> None:
    """Have both workers answer these tests' prompts, and behave as told."""
    for worker in (workers.small, workers.large):
        await worker.script(rules=RULES, **changes)


async def asked(gateway: Client, way: Way, *, stream: bool = False, **options: Any) -> Any:
    """Ask a way's request over HTTP and return the response, read to its end."""
    entroute = way.entroute(**options)
    return await gateway.chat(way.prompt, model=way.model, stream=stream, entroute=entroute)


async def idle(workers: Workers, *, within_s: float = 1.0) -> bool:
    """Whether neither worker is generating, now or a moment later."""

    async def running() -> float:
        both = [await _running(worker) for worker in (workers.small, workers.large)]
        return sum(both)

    return await eventually(running, 0, within_s=within_s)


async def _running(worker: FakeWorker) -> float:
    metrics = await worker.metrics()
    return metrics["vllm:num_requests_running"] + metrics["vllm:num_requests_waiting"]
