"""An answer that changes hands between two tiers which are one real vLLM worker."""

import time
from collections.abc import AsyncIterator, Iterable

import aiohttp
import pytest

from entroute.backends.http_worker import Timeouts
from entroute.backends.worker import Worker
from entroute.evidence import Outcome
from entroute.protocols import Run, Tier
from entroute.strategies.pen import Rule, Wish
from entroute.strategies.switching import Switching
from entroute.types import ChatRequest, Completion, TokenLogprob
from tests.builders import a_budget, a_run, read_outcome
from tests.scripted import collect
from tests.vllm.conftest import MODEL
from tests.vllm.metrics import GENERATED, PROMPTED, RUNNING, page, seconds_until, total

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(420)]

TOKENS = 48
NEARLY_EQUAL = 0.5  # nats
ASKED = {
    "list": "Write a numbered list of four fruits, one a line, with a short remark each.",
    "code": "Write a Python function that returns the largest of three numbers.",
    "characters": "Repeat exactly: naïve café, 猫と犬, 🐈🐕🦜, done.",
}


class At(Rule):
    """Moves after so many tokens of a writer, to and fro.

    Args:
        runs: Tokens of each writer but the last.
    """

    def __init__(self, runs: Iterable[int]) -> None:
        self._runs = iter(runs)
        self._left: int | None = None
        self._raised = False

    def opens_up(self) -> bool:
        return False

    def begin(self, *, raised: bool) -> None:
        self._raised = raised
        self._left = next(self._runs, None)

    def see(self, token: TokenLogprob) -> Wish | None:
        if self._left is None:
            return None
        self._left -= 1
        return Wish(up=not self._raised, reason="chance") if self._left <= 0 else None


@pytest.fixture
async def worker(vllm_url: str) -> AsyncIterator[Worker]:
    async with aiohttp.ClientSession() as session:
        made = Worker(
            f"{vllm_url}/v1",
            model=MODEL,
            tier="either",
            session=session,
            clock=time.monotonic,
            timeouts=Timeouts(),
        )
        made.engine = "vllm"
        yield made


def a_greedy_run(worker: Worker, prompt: str, **extra: object) -> Run:
    request = ChatRequest(
        model="auto",
        messages=({"role": "user", "content": prompt},),
        max_tokens=TOKENS,
        temperature=0,
        extra=extra,
    )
    budget = a_budget(deadline=time.monotonic() + 200, max_calls=64)
    tiers = [Tier(name, MODEL, worker, continues=True) for name in ("small", "large")]
    return a_run(*tiers, request=request, budget=budget, clock=time.monotonic)


async def uninterrupted(run: Run) -> Completion:
    call = run.reserve(run.tiers[0], "answer", top_logprobs=5)
    return await collect(run.tiers[0].backend.stream(call))


async def switched(run: Run, *runs: int) -> tuple[str, Outcome]:
    return await read_outcome(Switching("at", lambda _: At(runs), 60).stream(run))


def agrees(text: str, whole: Completion, seam: int) -> None:
    """Check that a text is the whole one, or leaves it where two tokens were as good as equal.

    bfloat16 makes reading a token and generating it differ in the last bits, so that greedy
    decoding after a hand-over may take the other one of two nearly equal tokens, and go on from it.
    """
    if text == whole.content:
        return
    place = 0
    for token in whole.logprobs:
        word = token["token"]
        if not text.startswith(word, place):
            break
        place += len(word)
    assert place >= seam
    first, *others = token["top_logprobs"]
    close = [o["token"] for o in others if first["logprob"] - o["logprob"] < NEARLY_EQUAL]
    assert any(text.startswith(other, place) for other in close), (text, token)


@pytest.mark.parametrize("name", sorted(ASKED))
@pytest.mark.parametrize("runs", [(1,), (7,), (20,), (5, 5, 5), (1,) * 12], ids=str)
async def test_the_joined_text_is_what_one_call_would_have_written(
    worker: Worker, name: str, runs: tuple[int, ...]
) -> None:
    whole = await uninterrupted(a_greedy_run(worker, ASKED[name]))
    run = a_greedy_run(worker, ASKED[name])
    text, outcome = await switched(run, *runs)

    first = outcome.segments[0].tokens
    agrees(text, whole, seam=sum(len(t["token"]) for t in whole.logprobs[:first]))
    assert text == outcome.choices[0].content
    assert outcome.choices[0].finish_reason == whole.finish_reason
    assert len(outcome.segments) == len(outcome.escalations) + 1 == len(run.ledger.charges)
    assert (len(outcome.segments) > 1) == (whole.usage.completion_tokens > runs[0])


@pytest.mark.parametrize("name", sorted(ASKED))
async def test_the_answers_usage_is_that_of_the_one_call(worker: Worker, name: str) -> None:
    whole = await uninterrupted(a_greedy_run(worker, ASKED[name]))
    run = a_greedy_run(worker, ASKED[name])
    text, outcome = await switched(run, 5, 5)

    usage = outcome.choices[0].usage
    assert usage.prompt_tokens == whole.usage.prompt_tokens
    assert usage.completion_tokens == sum(segment.tokens for segment in outcome.segments)
    assert usage.completion_tokens == len(outcome.choices[0].logprobs)
    if text == whole.content:
        assert usage.completion_tokens == whole.usage.completion_tokens
    written = 0
    for segment in outcome.segments:  # one tokeniser: what is read again is what was written
        assert segment.reread_tokens == written
        written += segment.tokens


async def test_what_was_read_again_came_from_the_prefix_cache(worker: Worker) -> None:
    long = ASKED["code"] + " It must handle negative numbers, equal numbers and zero." * 20
    run = a_greedy_run(worker, long)
    _, outcome = await switched(run, 20)

    first, second = (charge.usage for charge in run.ledger.charges)
    assert second.prompt_tokens == first.prompt_tokens + outcome.segments[0].tokens
    assert second.cached_tokens > first.prompt_tokens // 2  # whole blocks of the prompt


async def test_a_stop_string_ends_the_answer_where_it_would_have(
    worker: Worker, vllm_url: str
) -> None:
    whole = await uninterrupted(a_greedy_run(worker, ASKED["list"], stop=["\n3"]))
    run = a_greedy_run(worker, ASKED["list"], stop=["\n3"])
    text, outcome = await switched(run, 4, 4)

    assert text == whole.content
    assert outcome.choices[0].finish_reason == "stop"
    assert len(outcome.segments) > 1


async def test_the_ledger_has_what_the_worker_counted_but_for_tokens_under_way(
    worker: Worker, vllm_url: str
) -> None:
    before = await page(vllm_url)
    run = a_greedy_run(worker, ASKED["code"])
    _, outcome = await switched(run, 6, 6)
    await seconds_until(vllm_url, RUNNING, 0, within_s=1)
    after = await page(vllm_url)

    charged = [charge.usage for charge in run.ledger.charges]
    made = total(after, GENERATED) - total(before, GENERATED)
    read = total(after, PROMPTED) - total(before, PROMPTED)
    assert sum(usage.prompt_tokens for usage in charged) == read
    cancelled = len(outcome.segments) - 1
    assert 0 <= made - sum(usage.completion_tokens for usage in charged) <= 3 * cancelled
