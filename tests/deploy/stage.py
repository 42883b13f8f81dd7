"""The stage: real gateways before fake workers, a real Prometheus, and everything that happens.

    python -m tests.deploy.stage --keep

prints the addresses and stays until Ctrl-C. Two gateways run under the job
`entroute` (the second has two processes and finds its workers by DNS), workers under `vllm`.
"""

import argparse
import asyncio
import json
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml
from aiohttp import web

from loadtest.fleet import fleet
from tests.deploy.prometheus_server import EVERY_S, Prometheus, prometheus_server
from tests.deploy.stage_faults import Scene, faults
from tests.deploy.stage_parts import GROUPS, second_settings, settings
from tests.deploy.stage_traffic import SUM, Client, sound_traffic
from tests.deploy.tools import fetched
from tests.gateway_process import ROOT, Served, served
from tests.redis_server import redis_server

RULES = ROOT / "helm" / "entroute" / "files" / "rules"
"""The chart's rules, which Prometheus evaluates here too."""

ENTROUTE, VLLM = "entroute", "vllm"
_HTTP_S = 30.0


@dataclass(frozen=True, slots=True)
class Stage:
    """What happened, as Prometheus saw it.

    Attributes:
        prometheus: Ask it at `ended`.
        gateways: URLs of the gateways, no path, the second one of two processes.
        workers: URLs of the workers.
        began: When the traffic began, seconds since the epoch.
        ended: When it had ended and was scraped: everything is mended and nothing runs.
        answers: What every request was called, its status and the beginning of its answer.
    """

    prometheus: Prometheus
    gateways: Sequence[str]
    workers: Sequence[str]
    began: float
    ended: float
    answers: Sequence[tuple[str, int, str]]


@contextmanager
def stage(
    folder: Path,
    prometheus: Path,
    rules: Sequence[Path] | None = None,
    encores: Sequence[Callable[[Scene], Awaitable[None]]] = (),
) -> Iterator[Stage]:
    """Run everything once, then leave it standing for questions.

    Args:
        folder: For its files.
        prometheus: The binary.
        rules: Rule files; the chart's if left out.
        encores: What is played after everything else, while what stands beside still answers.

    Raises:
        RuntimeError: A part did not start.
    """
    chosen = sorted(RULES.glob("*.yaml")) if rules is None else rules
    with asyncio.Runner() as runner, ExitStack() as stack:
        parts = AsyncExitStack()
        stack.callback(lambda: runner.run(parts.aclose()))
        scene = runner.run(_built(parts, folder))
        gateways = [scene.gateway.url, scene.second.url]
        workers = [worker.url for worker in scene.fleet.workers]
        jobs = [_job(ENTROUTE, gateways), _job(VLLM, workers)]
        often = [_evaluated_often(path, folder) for path in chosen]
        watching = stack.enter_context(prometheus_server(prometheus, folder, jobs, rules=often))
        began = time.time()
        runner.run(_played(scene, encores))
        answers = (*scene.client.statuses, *scene.other.statuses)
        yield Stage(watching, gateways, workers, began, time.time() - EVERY_S, answers)


async def _built(parts: AsyncExitStack, folder: Path) -> Scene:
    """Start workers, Redis, a reward model, a collector of spans and two gateways."""
    redis = parts.enter_context(redis_server())
    workers = await parts.enter_async_context(fleet(GROUPS, folder))
    beside = await parts.enter_async_context(_beside())
    http = await parts.enter_async_context(httpx.AsyncClient(timeout=_HTTP_S))

    async def start(name: str, told: Mapping[str, Any]) -> Served:
        own = folder / name
        own.mkdir()
        gateway = served(own, told, within_s=60)
        # Not on the loop: while it stops it sends its last spans to the collector there.
        parts.push_async_callback(asyncio.to_thread, gateway.__exit__, None, None, None)
        return await asyncio.to_thread(gateway.__enter__)

    first = settings(workers, folder, redis.url, beside)
    gateway, second = await asyncio.gather(
        start("first", first), start("second", second_settings(workers, folder, redis.url))
    )
    return Scene(
        client=Client(gateway.url, http),
        other=Client(second.url, http),
        gateway=gateway,
        second=second,
        fleet=workers,
        redis=redis,
        config=folder / "first" / "gateway.yaml",
    )


async def _played(scene: Scene, encores: Sequence[Callable[[Scene], Awaitable[None]]]) -> None:
    """Play it: what is sound twice, so that counters move, with the faults between."""
    for act in (_sound, faults, _sound, *encores):
        await act(scene)
        await asyncio.sleep(2.5 * EVERY_S)


async def _sound(scene: Scene) -> None:
    await asyncio.gather(sound_traffic(scene.client), *(scene.other.ask(SUM) for _ in range(4)))


@asynccontextmanager
async def _beside() -> AsyncIterator[str]:
    """Serve a reward model that likes every answer alike and a collector; yield their URL."""

    async def score(request: web.Request) -> web.Response:
        asked = await request.json()
        return web.json_response({"scores": [0.7] * len(asked["answers"])})

    async def collect(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(content_type="application/x-protobuf")

    app = web.Application()
    app.add_routes([web.post("/reward", score), web.post("/v1/traces", collect)])
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _evaluated_often(rules: Path, folder: Path) -> Path:
    """Return a copy of a rule file whose groups wait for no interval of their own."""
    document = yaml.safe_load(rules.read_text(encoding="utf-8"))
    for group in document["groups"]:
        group.pop("interval", None)
    copy = folder / rules.name
    copy.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return copy


def _job(name: str, urls: Sequence[str]) -> dict[str, Any]:
    """Return what scrapes some targets, with the labels that the operator gives to each."""
    configs = [
        {
            "targets": [url.removeprefix("http://")],
            "labels": {"namespace": "default", "pod": f"{name}-{place}"},
        }
        for place, url in enumerate(urls)
    ]
    return {"job_name": name, "static_configs": configs}


def main() -> None:
    """Play everything, print the addresses and stay if asked to."""
    parser = argparse.ArgumentParser(prog="python -m tests.deploy.stage", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="stay until Ctrl-C")
    keep = parser.parse_args().keep
    for number in (signal.SIGINT, signal.SIGTERM):  # nothing is left behind
        signal.signal(number, signal.default_int_handler)
    tools = fetched(lambda line: print(line, file=sys.stderr))  # noqa: T201
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        with stage(Path(folder), tools.prometheus) as there, suppress(KeyboardInterrupt):
            facts = {
                "prometheus": there.prometheus.url,
                "gateways": there.gateways,
                "workers": there.workers,
                "began": there.began,
                "ended": there.ended,
                "seconds": round(time.monotonic() - started, 1),
            }
            print(json.dumps(facts, indent=1), flush=True)  # noqa: T201
            while keep:
                time.sleep(1)


if __name__ == "__main__":
    main()
