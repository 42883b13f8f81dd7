"""Traffic in front of sound workers: every strategy, verifier, endpoint, kind of cache hit."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.deploy.stage_parts import FIRST, LIMITED, OPERATOR, SECOND

SUM = "How many are 17 times 3? There are 17 in each of 3 rows. Answer with a number."
DOUBT = "Tell me what you doubt about the weather."
PROGRAM = "Write a Python function double(x). `double(2) -> 4`\nassert double(3) == 6"
JSON = "Answer with a JSON object that has the key a."
SPLIT = "How many ways are there to split 7 apples among 3 children? Answer with a number."

STRATEGIES: Mapping[str, str] = {
    "single": SUM,
    "cascade": DOUBT,
    "self_consistency": SUM,
    "adaptive_consistency": SUM,
    "esc": SUM,
    "reasc": SPLIT,
    "best_of_n": SUM,
    "rejection": JSON,
    "short_m_at_k": SUM,
    "self_refine": SUM,
    "program_first": SUM,
    "cot_pot": SUM,
    "verify_then_escalate": PROGRAM,
    "code_cluster": PROGRAM,
    "entropy_switch": DOUBT,
    "random_switch": DOUBT,
}
"""Every strategy, and what it is asked."""

_OBJECT = {"kind": "schema", "json_schema": {"type": "object", "required": ["a"]}}
_TESTS = {"kind": "tests", "tests": ["assert double(2) == 4"], "entry_point": "double"}
VERIFIERS: Sequence[tuple[str, Mapping[str, Any]]] = (
    (SUM, {"kind": "exact", "answer": "51"}),
    (SUM, {"kind": "confidence"}),
    (SUM, {"kind": "likelihood"}),
    (SUM, {"kind": "self_certainty"}),
    (SUM, {"kind": "self_evaluation"}),
    (SUM, {"kind": "judge"}),
    (SUM, {"kind": "majority"}),
    (SUM, {"kind": "reward", "name": "fake"}),
    (SUM, {"kind": "program", "source": "def sat(answer):\n    return '51' in str(answer)"}),
    (JSON, _OBJECT),
    (PROGRAM, _TESTS),
    (
        SUM,
        {
            "kind": "weighted",
            "parts": [
                {"verifier": {"kind": "confidence"}},
                {"verifier": {"kind": "exact", "answer": "51"}, "weight": 2},
            ],
        },
    ),
)
"""Every verifier, and what is asked with it."""

_NEEDS: Mapping[str, Mapping[str, Any]] = defaultdict(dict, rejection={"verifier": _OBJECT})

BUDGETS: Mapping[str, Mapping[str, float]] = {
    "max_calls": {"max_calls": 2},
    "max_generated_tokens": {"max_generated_tokens": 10},
    "max_cost_usd": {"max_cost_usd": 0.003},
    "deadline": {"deadline_ms": 200},
}
"""A budget that is too small, by the limit that cuts."""


@dataclass(slots=True)
class Client:
    """Asks one gateway.

    Attributes:
        url: Its address, no path.
        http: Sends.
        statuses: What was answered, for whoever wonders.
        asked: How many fresh questions there were.
    """

    url: str
    http: httpx.AsyncClient
    statuses: list[tuple[str, int, str]] = field(default_factory=list)
    asked: int = 0

    async def post(
        self, path: str, body: Mapping[str, Any], key: str = FIRST, what: str = ""
    ) -> httpx.Response:
        """Post a body under a key."""
        headers = {"authorization": f"Bearer {key}"}
        answer = await self.http.post(f"{self.url}/v1/{path}", json=dict(body), headers=headers)
        self.statuses.append((what or path, answer.status_code, answer.text[:300]))
        return answer

    def fresh(self, text: str) -> str:
        """Return a text that was never asked before."""
        self.asked += 1
        return f"({self.asked}) {text}"

    async def ask(
        self, text: str, key: str = FIRST, *, fresh: bool = True, what: str = "", **fields: Any
    ) -> httpx.Response:
        """Ask for a chat completion; what is fresh was never asked before."""
        said = self.fresh(text) if fresh else text
        body = {"model": "auto", "messages": [{"role": "user", "content": said}], **fields}
        return await self.post("chat/completions", body, key, what)


async def sound_traffic(client: Client) -> None:
    """Ask everything that sound parts can answer, many things at a time."""
    await asyncio.gather(
        *(
            client.ask(text, what=name, stream=stream, entroute={"strategy": name, **_NEEDS[name]})
            for name, text in STRATEGIES.items()
            for stream in (False, True)
        )
    )
    await asyncio.gather(
        *(
            client.ask(
                text,
                SECOND,
                what=str(verifier["kind"]),
                entroute={"strategy": "best_of_n", "verifier": verifier},
            )
            for text, verifier in VERIFIERS
        ),
        client.ask(
            "Say what nobody says.",
            entroute={"strategy": "best_of_n", "verifier": {"kind": "self_evaluation"}},
        ),
    )
    await asyncio.gather(
        _decisions(client), _cached(client), _other_endpoints(client), _budgets(client)
    )
    await asyncio.gather(_limited(client), _left(client), _bad(client))


async def _decisions(client: Client) -> None:
    """Let the policy decide, then tell how the answers turned out."""
    answers = await asyncio.gather(
        *(client.ask(SUM, stream=place % 2 == 0) for place in range(12)),
        *(client.ask(SUM, entroute={"quality": quality}) for quality in (0.5, 0.7, 0.99)),
        client.ask("Tell me about the sea."),
        client.ask(PROGRAM),
        client.ask(SUM, n=3),
        client.ask("The sea is wide. " * 1500, max_tokens=10),
        client.ask(SUM, OPERATOR, logprobs=True, top_logprobs=3),
    )
    for place, answer in enumerate(answers):
        label = {"id": answer.headers.get("x-request-id", "none"), "right": place % 3 != 0}
        await client.post("feedback", label)
    await client.post("feedback", {"id": answers[0].headers["x-request-id"], "score": 0.5})
    await client.post("feedback", {"id": answers[0].headers["x-request-id"], "right": True}, SECOND)
    await client.post("feedback", {"id": "no-such-answer", "right": True})
    await client.post("feedback", {"id": "no-label"})


async def _cached(client: Client) -> None:
    """Ask the same again, the same in other words, and what only looks the same."""
    question = "What is the capital of France?"
    greedy: dict[str, Any] = {"temperature": 0, "model": "small", "fresh": False}
    tagged = {"cache_tags": ["france"]}
    await client.ask(question, entroute=tagged, **greedy)
    await asyncio.sleep(0.3)  # its vector is kept after the answer was sent
    await client.ask(question, entroute=tagged, **greedy)
    await client.ask("What's the capital of France?", **greedy)
    await client.ask("What is the capital of Germany?", **greedy)
    await client.ask("What is the capital of France not?", **greedy)
    await client.ask(question, entroute={"cache": "bypass"}, **greedy)
    await client.ask(question, SECOND, **greedy)
    same = client.fresh("Which river is the longest?")
    await asyncio.gather(*(client.ask(same, **greedy) for _ in range(3)))
    await client.ask("Say a lot.", temperature=0, model="large")
    await client.ask(SUM, temperature=0, n=2)
    await client.post("cache/invalidate", {"tags": ["france"]})
    await client.ask(question, entroute=tagged, **greedy)
    again = client.fresh(SUM)
    for strategy in ("self_consistency", "adaptive_consistency", "program_first", "cot_pot"):
        await client.ask(again, fresh=False, seed=7, entroute={"strategy": strategy})
    for mode in ("default", "refresh"):
        asked = {"strategy": "program_first", "cache": mode}
        await client.ask(again, fresh=False, seed=7, entroute=asked)


async def _other_endpoints(client: Client) -> None:
    """Ask for text, responses and embeddings, and read and forget a response."""
    await client.post("completions", {"model": "small", "prompt": "Once upon", "max_tokens": 8})
    await client.post("completions", {"model": "auto", "prompt": "Once upon", "stream": True})
    kept = await client.post("responses", {"model": "auto", "input": SUM})
    await client.post("responses", {"model": "auto", "input": SUM, "stream": True})
    await client.post("responses", {"model": "large", "input": "Say a lot."})
    headers = {"authorization": f"Bearer {FIRST}"}
    path = f"{client.url}/v1/responses/{kept.json().get('id')}"
    for _ in range(2):
        await client.http.get(path, headers=headers)
        await client.http.delete(path, headers=headers)
    for texts in ("one", ["two", "three"]):
        await client.post("embeddings", {"model": "embed", "input": texts}, SECOND)


async def _budgets(client: Client) -> None:
    """Ask with budgets that do not hold what is asked."""
    for limit, budget in BUDGETS.items():
        asked = {"strategy": "self_consistency", "budget": budget}
        text = "Say a lot." if limit == "deadline" else SPLIT
        await client.ask(text, what=limit, entroute=asked)
        await client.ask(text, what=limit, stream=True, entroute=asked)


async def _limited(client: Client) -> None:
    """Ask more often than some keys may."""
    for secret in LIMITED:
        for _ in range(3):
            await client.ask(SUM, secret, model="small", what=secret)


async def _left(client: Client) -> None:
    """Leave streams in their middle."""
    for entroute in ({"strategy": "single"}, {"strategy": "self_consistency"}):
        body = {
            "model": "small",
            "messages": [{"role": "user", "content": "Say a lot."}],
            "max_tokens": 3000,
            "stream": True,
            "entroute": entroute,
        }
        headers = {"authorization": f"Bearer {FIRST}"}
        address = f"{client.url}/v1/chat/completions"
        async with client.http.stream("POST", address, json=body, headers=headers) as answer:
            await anext(answer.aiter_bytes())


async def _bad(client: Client) -> None:
    """Ask what no one may."""
    await client.ask(SUM, "sk-nobody")
    await client.ask(SUM, model="no-such-model")
    await client.ask(SUM, entroute={"strategy": "no-such-strategy"})
    await client.post("chat/completions", {"model": "auto"})
    await client.post("embeddings", {"model": "no-such-model", "input": "x"})
