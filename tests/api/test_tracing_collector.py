"""A collector that is dead, slow or gone, the end of the server, and what tracing costs then."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from entroute.embedded.engine import free_port
from entroute.types import EMPTY
from tests.api.conftest import Client, Serve, Workers, base_settings, client_of, eventually
from tests.collector import Collector, by_operation, collecting
from tests.gateway_process import ROOT, child_environment, command, served, serving, two_tiers
from tests.reloads import reloaded

pytestmark = pytest.mark.asyncio(loop_scope="session")

LATE_S = 60.0  # on a busy machine


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


async def spans(gateway: Client, result: str) -> float:
    return await gateway.sample("entroute_spans_total", result=result)


async def texts(gateway: Client, times: int) -> list[str]:
    answers = [await gateway.answer(f"Question {n}") for n in range(times)]
    return [answer["choices"][0]["message"]["content"] for answer in answers]


async def test_what_is_exported_is_counted(serve: Serve, collector: Collector) -> None:
    gateway = await serve(tracing={"endpoint": collector.url})
    await texts(gateway, 3)
    assert await eventually(lambda: spans(gateway, "exported"), 6, within_s=LATE_S)
    assert len(collector.spans) == 6
    assert await spans(gateway, "failed") == await spans(gateway, "dropped") == 0


async def test_a_dead_collector_costs_nothing_but_spans(serve: Serve) -> None:
    dead = f"http://127.0.0.1:{free_port()}/v1/traces"
    gateway = await serve(tracing={"endpoint": dead, "timeout_s": 0.5})
    untraced = await serve()
    assert await texts(gateway, 5) == await texts(untraced, 5)
    assert await eventually(lambda: spans(gateway, "failed"), 10, within_s=LATE_S)


async def test_a_collector_that_refuses_is_told_apart_from_one_that_takes(
    serve: Serve, collector: Collector
) -> None:
    collector.status = 401
    gateway = await serve(tracing={"endpoint": collector.url})
    await texts(gateway, 1)
    assert await eventually(lambda: spans(gateway, "failed"), 2, within_s=LATE_S)
    collector.status = 200
    await texts(gateway, 2)
    assert await eventually(lambda: spans(gateway, "exported"), 4, within_s=LATE_S)


async def test_a_collector_that_never_answers_holds_up_no_answer_and_no_end(
    workers: Workers, http: httpx.AsyncClient, collector: Collector
) -> None:
    collector.delay_s = 600
    tracing = {"endpoint": collector.url, "timeout_s": 1}
    async with serving(base_settings(workers, tracing=tracing)) as url:
        gateway = client_of(url, http)
        slowest = 0.0
        until = time.monotonic() + 3  # a batch is under way nearly all of that time
        while time.monotonic() < until:
            since = time.monotonic()
            await gateway.answer()
            slowest = max(slowest, time.monotonic() - since)
        assert collector.bodies
        since = time.monotonic()
    # Every answer that had waited for the collector had waited for its timeout.
    assert slowest < 1
    assert time.monotonic() - since < 10


async def test_spans_are_sent_before_the_server_ends(
    workers: Workers, http: httpx.AsyncClient, collector: Collector, tmp_path: Path
) -> None:
    tracing = {"endpoint": collector.url, "headers": {"authorization": "Bearer marked"}}
    await workers.small.script(tokens=40, tokens_per_second=40)
    with served(tmp_path, base_settings(workers, tracing=tracing)) as gateway:
        client = client_of(gateway.url, http)
        asking = asyncio.create_task(client.chat(stream=True))

        async def running() -> float:
            return (await workers.small.metrics())["vllm:num_requests_running"]

        assert await eventually(running, 1)
        gateway.terminate()
        assert (await asking).text.rstrip().endswith("[DONE]")
        assert await asyncio.to_thread(gateway.process.wait, LATE_S) == 0
    (parent,) = collector.requests
    (call,) = by_operation(collector.spans)["chat"]
    assert (parent.facts["entroute.result"], call.parent_id) == ("ok", parent.span_id)
    log = gateway.log.read_text()
    (line,) = [json.loads(one) for one in log.splitlines() if '"event": "request"' in one]
    assert (line["trace_id"], line["span_id"]) == (parent.trace_id, parent.span_id)
    assert parent.facts["entroute.request_id"] == line["request_id"]
    assert "marked" not in log


async def test_a_dead_collector_does_not_hold_up_the_end_and_is_said_once(
    workers: Workers, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    dead = f"http://127.0.0.1:{free_port()}/v1/traces"
    settings = base_settings(workers, tracing={"endpoint": dead})
    with served(tmp_path, settings) as gateway:
        client = client_of(gateway.url, http)
        for _ in range(2):
            await client.answer()
            await asyncio.sleep(1.2)
        gateway.terminate()
        since = time.monotonic()
        assert await asyncio.to_thread(gateway.process.wait, LATE_S) == 0
        assert time.monotonic() - since < 20
    log = gateway.log.read_text()
    assert log.count("the collector takes no spans") == 1
    assert "opentelemetry" not in log
    assert "Traceback" not in log


async def test_the_share_may_change_while_it_runs_and_nothing_else_of_it(
    workers: Workers, http: httpx.AsyncClient, collector: Collector, tmp_path: Path
) -> None:
    def settings(**tracing: Any) -> dict[str, Any]:
        return base_settings(workers, tracing={"endpoint": collector.url, **tracing})

    with served(tmp_path, settings(sample=0)) as gateway:
        client = client_of(gateway.url, http)
        await client.answer()
        changed = await reloaded(gateway, settings(sample=1))
        assert changed == "configuration reloaded: tracing"
        answered = await client.chat()
        refused = await reloaded(gateway, settings(sample=1, content=True))
        assert refused == (
            "reload refused, nothing has changed: tracing.content: cannot change without a restart"
        )
        gateway.terminate()
        assert await asyncio.to_thread(gateway.process.wait, LATE_S) == 0
    (only,) = collector.requests
    assert only.facts["entroute.request_id"] == answered.headers["x-request-id"]


_ABSENT = """
import importlib.abc, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter", "requests")):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""

_CHECK = "from entroute.cli import main\nmain(['check', '--config', sys.argv[1]])\n"

_ANSWER = """
import asyncio
from pathlib import Path
import httpx
from entroute.app import create_app
from entroute.loading import load

async def answer():
    app = create_app(load(Path(sys.argv[1]), {}))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            body = {"model": "small", "messages": [{"role": "user", "content": "Hi"}]}
            answered = await client.post("/v1/chat/completions", json=body)
            print(answered.status_code)

asyncio.run(answer())
# Redis's client imports the SDK of metrics where it finds it.
vendors = ("opentelemetry.sdk.trace", "opentelemetry.exporter", "opentelemetry.proto", "requests")
ours = "entroute.telemetry.tracing_spans"
print(sorted(name for name in sys.modules if name.startswith((*vendors, ours))))
"""


def run(
    folder: Path, settings: dict[str, Any], program: str, environment: Mapping[str, str] = EMPTY
) -> subprocess.CompletedProcess[str]:
    """Run a program in an interpreter of its own, with a configuration as its argument."""
    path = folder / "gateway.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-c", f"import sys\n{program}", str(path)],
        env=child_environment(environment),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LATE_S,
        check=False,
    )


async def test_tracing_without_its_extra_is_refused_by_its_path(tmp_path: Path) -> None:
    tracing = {"endpoint": "http://127.0.0.1:1/v1/traces"}
    settings = {**two_tiers("http://127.0.0.1:1", "http://127.0.0.1:1"), "tracing": tracing}
    done = await asyncio.to_thread(run, tmp_path, settings, _ABSENT + _CHECK)
    assert done.returncode != 0
    assert "tracing: needs opentelemetry" in done.stderr
    assert "pip install 'entroute[tracing]'" in done.stderr


@pytest.mark.parametrize("extra", ["absent", "installed"])
async def test_without_tracing_the_sdk_is_neither_needed_nor_imported(
    workers: Workers, tmp_path: Path, extra: str
) -> None:
    program = (_ABSENT if extra == "absent" else "import sys\n") + _ANSWER
    done = await asyncio.to_thread(run, tmp_path, base_settings(workers), program)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == ["200", "[]"]


async def test_what_the_environment_asks_of_other_libraries_sends_nothing(
    workers: Workers, tmp_path: Path, collector: Collector
) -> None:
    asks = {
        "FASTAPI_OTEL_AUTO_CONFIGURE": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url.removesuffix("/v1/traces"),
    }
    settings = base_settings(workers)
    done = await asyncio.to_thread(run, tmp_path, settings, f"import sys\n{_ANSWER}", asks)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == ["200", "[]"]
    assert collector.bodies == []


async def test_the_effective_configuration_hides_the_collectors_key(tmp_path: Path) -> None:
    tracing = {"endpoint": "http://127.0.0.1:1/v1/traces"}
    settings = {**two_tiers("http://127.0.0.1:1", "http://127.0.0.1:1"), "tracing": tracing}
    path = tmp_path / "gateway.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    name = "ENTROUTE_TRACING__HEADERS__AUTHORIZATION"
    done = await asyncio.to_thread(
        subprocess.run,
        command(["check", "--config", str(path)]),
        env=child_environment({name: "Bearer marked"}),
        capture_output=True,
        text=True,
        timeout=LATE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    shown = yaml.safe_load(done.stdout)["tracing"]["headers"]
    assert list(shown) == ["authorization"]
    assert "marked" not in done.stdout + done.stderr
    assert os.environ.get(name) is None
