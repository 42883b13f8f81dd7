"""Recorded samples in a worker's place: real strategies run on them, at the pace of the record.

Exact for independent draws at one prompt form, temperature and engine. What depends on what was
said before (revisions, hand-overs) has no place here: such a call finds no sample and fails.
"""

import asyncio
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from random import Random

from entroute.calls import CallStream
from entroute.errors import WorkerRejected
from entroute.evaluation.bank import Sample
from entroute.evaluation.virtual_time import VirtualLoop
from entroute.execution import Execution, Repeat
from entroute.protocols import Sandbox
from entroute.sandbox import BubblewrapConfig, BubblewrapSandbox
from entroute.spending import Usage
from entroute.types import Call, ChatRequest, Completion, Delta

CHUNK = 8  # tokens a piece: cancelling is charged to the next multiple


class ReplayBackend:
    """One tier's samples, drawn without replacement until `shuffle`.

    Args:
        samples: All of one tier.
        rng: Orders them.
    """

    def __init__(self, samples: Iterable[Sample], rng: Random) -> None:
        self._by_message: dict[str, list[Sample]] = defaultdict(list)
        for sample in samples:
            self._by_message[sample.message].append(sample)
        self._rng = rng
        self._left: dict[str, list[Sample]] = {}

    def shuffle(self) -> None:
        """Put every sample back, in a new order."""
        self._left = {}

    async def complete(self, call: Call) -> Completion:
        """Answer at once. See `Backend.complete`."""
        async for piece in self.stream(call):
            if isinstance(piece, Completion):
                return piece
        raise RuntimeError("a recorded sample ended without a completion")

    async def stream(self, call: Call) -> CallStream:
        """Answer piece by piece. See `Backend.stream`."""
        sample = self._next(call.request)
        tokens = len(sample.tokens)
        cap = tokens if call.max_tokens is None else min(tokens, call.max_tokens)
        pace = sample.latency_s / max(1, tokens)
        logprobs = sample.token_logprobs if call.top_logprobs is not None else ()
        for start in range(0, cap, CHUNK):
            end = min(start + CHUNK, cap)
            await asyncio.sleep((end - start) * pace)
            yield Delta(
                "".join(sample.tokens[start:end]),
                logprobs=logprobs[start:end],
                usage=Usage(sample.prompt_tokens, 0, end, 1),
                tier=sample.tier,
            )
        whole = cap == tokens
        yield Completion(
            content=sample.text if whole else "".join(sample.tokens[:cap]),
            finish_reason=sample.finish_reason if whole else "length",
            usage=Usage(sample.prompt_tokens, 0, cap, 1),
            tier=sample.tier,
            model=sample.tier,
            worker="bank",
            logprobs=logprobs[:cap],
            latency_s=cap * pace,
            call_id=call.id,
        )

    def _next(self, request: ChatRequest) -> Sample:
        message = request.text
        left = self._left.get(message)
        if left is None:
            left = list(self._by_message.get(message, ()))
            self._rng.shuffle(left)
            self._left[message] = left
        if not left:
            raise WorkerRejected(
                "bank", "no recorded sample is left", status=400, param="messages", code=None
            )
        return left.pop()


class RecordedSandbox:
    """A sandbox for a virtual loop: real runs, the same program once, at the pace it took.

    Programs that hold a random mark of their request are never the same.

    Args:
        sandbox: Runs what was not run before.
        home: The loop it lives on, running in another thread: its own timers are real.
    """

    def __init__(self, sandbox: Sandbox, home: asyncio.AbstractEventLoop) -> None:
        self._sandbox = sandbox
        self._home = home
        self._known: dict[tuple[str, str, float], Execution] = {}

    async def run(
        self, source: str, *, stdin: str = "", wall_s: float = 10.0, repeat: Repeat | None = None
    ) -> Execution:
        """Run a program or wait as long as it took. See `Sandbox.run`."""
        key = (source, stdin, wall_s)
        if key in self._known:
            await asyncio.sleep(self._known[key].seconds)
            return self._known[key]
        loop = asyncio.get_running_loop()
        if not isinstance(loop, VirtualLoop):
            raise TypeError("a recorded sandbox runs on a virtual loop")
        with loop.real_time():
            running = self._sandbox.run(source, stdin=stdin, wall_s=wall_s, repeat=repeat)
            future = asyncio.run_coroutine_threadsafe(running, self._home)
            self._known[key] = await asyncio.wrap_future(future)
        return self._known[key]


@contextmanager
def recorded_sandbox() -> Iterator[RecordedSandbox]:
    """Start a real sandbox for a virtual loop, on a loop of its own in another thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        sandbox: BubblewrapSandbox = BubblewrapConfig().build()
        asyncio.run_coroutine_threadsafe(sandbox.start(), loop).result()
        try:
            yield RecordedSandbox(sandbox, loop)
        finally:
            asyncio.run_coroutine_threadsafe(sandbox.close(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
