"""What two gateways on one Redis share: `python -m loadtest.shared_state --help`.

Two gateway processes stand in front of the same workers (fake ones unless real ones are named) with
one real Redis and one API key. Shown: equal requests at both, one upstream call; a vote that the
other gateway resumes; one limit over both; answers that the other one made, from the cache; and the
key's usage beside what the workers counted themselves.
"""

import argparse
import asyncio
import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from loadtest.gateway_process import gateway
from loadtest.spawn import fake_worker
from loadtest.worker_counters import Counted, read_counted
from tests.redis_server import redis_server

_KEYS = {"open": "key-without-limits", "tight": "key-with-a-limit"}
_LIMIT = 40
_AT_ONCE = 4
_GOOD = 200


@dataclass(frozen=True, slots=True)
class Scene:
    """Two gateways, and the workers behind both, by tier."""

    gateways: Sequence[str]
    workers: Mapping[str, str]
    session: aiohttp.ClientSession

    async def ask(self, place: int, text: str, *, key: str = "open", **fields: Any) -> "Answer":
        """Ask one of the gateways."""
        body = {
            "model": "small",
            "temperature": 0,
            "messages": [{"role": "user", "content": text}],
            **fields,
        }
        url = f"{self.gateways[place]}/v1/chat/completions"
        async with self.session.post(url, json=body, headers=_bearer(key)) as answer:
            return Answer(
                answer.status, answer.headers.get("x-entroute-cache", ""), await answer.json()
            )

    async def counted(self) -> dict[str, Counted]:
        """Return what every worker has counted so far."""
        return {tier: await read_counted(self.session, url) for tier, url in self.workers.items()}

    async def usage(self, place: int) -> dict[str, Any]:
        """Return the open key's usage as one of the gateways tells it."""
        url = f"{self.gateways[place]}/v1/usage"
        async with self.session.get(url, headers=_bearer("open")) as answer:
            answer.raise_for_status()
            told: dict[str, Any] = await answer.json()
            return told


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    cache: str
    body: dict[str, Any]

    @property
    def calls(self) -> int:
        """Upstream calls that it cost, as far as it tells."""
        calls: int = self.body.get("usage", {}).get("entroute", {}).get("calls", 0)
        return calls

    @property
    def kind(self) -> str:
        """Where it came from, or the status of an error."""
        return self.cache if self.status == _GOOD else str(self.status)


def _bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {_KEYS[key]}"}


def _key_file(folder: Path) -> Path:
    limits: dict[str, dict[str, int]] = {"tight": {"requests_per_minute": _LIMIT}, "open": {}}
    keys = [
        {
            "name": name,
            "tenant": "measurement",
            "sha256": hashlib.sha256(secret.encode()).hexdigest(),
            "limits": limits[name],
        }
        for name, secret in _KEYS.items()
    ]
    path = folder / "keys.yaml"
    path.write_text(json.dumps({"keys": keys}), encoding="utf-8")
    return path


@asynccontextmanager
async def staged(workers: Mapping[str, str]) -> AsyncIterator[Scene]:
    """Run two gateways on a Redis of their own, before workers named by tier, or fake ones."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        redis = stack.enter_context(redis_server())
        urls = dict(workers)
        for tier in ("small", "large"):
            if tier not in urls:
                fake = await stack.enter_async_context(
                    fake_worker(model=tier, ttft_ms=200, tokens=20)
                )
                urls[tier] = fake.url
        changes = {
            "tiers": [
                {"name": tier, "model": tier, "workers": [{"url": f"{url}/v1"}]}
                for tier, url in urls.items()
            ],
            "redis": {"url": redis.url, "timeout_ms": 500},
            "cache": {"kind": "redis", "sampled": True},
            "auth": {"keys_file": str(_key_file(folder))},
            "difficulty": {"kind": "lexical"},
        }
        gateways = []
        for name in ("one", "two"):
            own = folder / name
            own.mkdir()
            running = await stack.enter_async_context(gateway(own, {}, "", changes=changes))
            gateways.append(running.url)
        session = await stack.enter_async_context(
            # Kept connections would be closed by the gateway while other scenes are shown.
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True))
        )
        yield Scene(gateways, urls, session)


async def shown_flights(scene: Scene) -> str:
    """Ask both gateways the same at the same time."""
    asked = [scene.ask(place, "Say something long.", max_tokens=200) for place in (0, 1) * 20]
    answers = await asyncio.gather(*asked)
    calls = sum(answer.calls for answer in answers)
    texts = {answer.body["choices"][0]["message"]["content"] for answer in answers}
    return f"40 equal requests over both gateways: {calls} upstream call(s), {len(texts)} answer(s)"


async def shown_votes(scene: Scene) -> str:
    """Vote at one gateway, then wider at the other."""
    options: dict[str, Any] = {"temperature": 0.7, "seed": 1, "max_tokens": 100}
    text = "What is 17 * 3? Answer with the number alone."
    told = []
    for place, strategy, most in ((0, "self_consistency", 4), (1, "self_consistency", 64)):
        answer = await scene.ask(
            place,
            text,
            entroute={"strategy": strategy, "budget": {"max_calls": most}, "explain": True},
            **options,
        )
        candidates = len(answer.body["entroute"]["candidates"])
        told.append(f"gateway {place + 1}: {answer.calls} call(s), {candidates} candidates")
    return "self_consistency, first 4 calls at most, then as many as it likes: " + "; ".join(told)


async def shown_limits(scene: Scene) -> str:
    """Ask both gateways for three times what one key may have in a minute."""
    asked = [
        scene.ask(number % 2, f"Number {number}", key="tight", max_tokens=5)
        for number in range(3 * _LIMIT)
    ]
    statuses = Counter(answer.status for answer in await asyncio.gather(*asked))
    return f"limit {_LIMIT} a minute, {3 * _LIMIT} requests over both: {dict(statuses)}"


async def shown_cache(scene: Scene, prompts: Sequence[str], models: Sequence[str]) -> str:
    """Ask one gateway everything, then the other one."""
    told = []
    gate = asyncio.Semaphore(_AT_ONCE)

    async def asked(place: int, number: int, prompt: str) -> Answer:
        async with gate:
            model = models[number % len(models)]
            return await scene.ask(place, prompt, model=model, max_tokens=400)

    for place in (0, 1):
        each = (asked(place, number, prompt) for number, prompt in enumerate(prompts))
        answers = await asyncio.gather(*each)
        caches = Counter(answer.kind for answer in answers)
        calls = sum(answer.calls for answer in answers)
        told.append(f"gateway {place + 1}: {dict(caches)}, {calls} calls")
    return f"{len(prompts)} prompts at one gateway, then at the other: " + "; ".join(told)


async def shown_usage(scene: Scene, before: Mapping[str, Counted]) -> list[str]:
    """Hold the key's usage against what the workers counted."""
    await asyncio.sleep(2.5)  # reports are written every second
    usage = await scene.usage(1)
    after = await scene.counted()
    lines = []
    for tier, counted in after.items():
        rows = usage["tiers"].get(tier, {}).values()
        # llama.cpp leaves cached prompt tokens out of its counter, vLLM does not.
        whole = sum(row["prompt_tokens"] for row in rows)
        cached = sum(row["cached_tokens"] for row in rows)
        completion = sum(row["completion_tokens"] for row in rows)
        partial = sum(row["partial_calls"] for row in rows)
        own = counted - before[tier]
        lines.append(
            f"usage of '{tier}': prompt {whole} ({cached} cached), completion {completion}, "
            f"{partial} partial call(s); its worker counted prompt {own.prompt:.0f}, "
            f"completion {own.completion:.0f}"
        )
    return lines


async def show(workers: Mapping[str, str], prompts: Sequence[str], models: Sequence[str]) -> None:
    """Print what is shared, a line a scene."""
    async with staged(workers) as scene:
        before = await scene.counted()
        print(await shown_flights(scene), flush=True)
        print(await shown_votes(scene), flush=True)
        print(await shown_cache(scene, prompts, models), flush=True)
        for line in await shown_usage(scene, before):
            print(line, flush=True)
        print(await shown_limits(scene), flush=True)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.shared_state", description=__doc__)
    parser.add_argument("--small", help="URL of a worker that serves `small`, without /v1")
    parser.add_argument("--large", help="URL of a worker that serves `large`, without /v1")
    parser.add_argument("--prompts", type=Path, help="JSON lines with `message`; 100 made ones")
    parser.add_argument("--models", default="auto", help="asked in turn, by commas")
    given = parser.parse_args()
    prompts = [f"What is {number} plus {number}?" for number in range(100)]
    if given.prompts is not None:
        lines = given.prompts.read_text(encoding="utf-8").splitlines()
        prompts = [json.loads(line)["message"] for line in lines]
    named = {"small": given.small, "large": given.large}
    workers = {tier: url for tier, url in named.items() if url}
    asyncio.run(show(workers, prompts, given.models.split(",")))


if __name__ == "__main__":
    main()
