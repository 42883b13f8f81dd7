"""A worker dies, somebody is told; it comes back, and they are told that, too.

A real gateway, fake workers, a real Prometheus with the chart's rules and a real Alertmanager with
the routing that Compose ships, both sixty times faster (`tests.deploy.faster`).
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from loadtest.fleet import Fleet, FleetWorker, Group, fleet
from tests.deploy.alertmanager_server import Receiver, alertmanager_server, receiver
from tests.deploy.faster import faster_route, faster_rules
from tests.deploy.prometheus_server import Prometheus, prometheus_server
from tests.deploy.rules_read import RULES, alerts
from tests.deploy.tools import Tools
from tests.gateway_process import ROOT, served

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(300)]

ROUTING = ROOT / "deploy" / "alertmanager" / "alertmanager.yml"
WITHIN_S = 60.0
TOLD = {alert["alert"]: alert["annotations"]["description"] for alert in alerts()}


@dataclass(frozen=True, slots=True)
class Watched:
    """A gateway that is watched, and who is told."""

    fleet: Fleet
    prometheus: Prometheus
    told: Receiver


def settings(workers: Fleet) -> dict[str, Any]:
    """Return settings of the tiers small (two workers) and large (one), looked at often."""
    tiers = [
        {
            "name": tier,
            "model": tier,
            "workers": [{"url": f"{w.url}/v1"} for w in workers.workers if w.tier == tier],
        }
        for tier in ("small", "large")
    ]
    health = {"interval_s": 0.5}
    return {"server": {"host": "127.0.0.1", "port": 0}, "health": health, "tiers": tiers}


def routing(folder: Path, webhook: str) -> dict[str, Any]:
    """Return the shipped routing, faster, with the test's webhook in its secret file."""
    document: dict[str, Any] = yaml.safe_load(ROUTING.read_text(encoding="utf-8"))
    secret = folder / "webhook-url"
    secret.write_text(webhook, encoding="utf-8")
    document["global"]["slack_api_url_file"] = str(secret)
    return {**document, "route": faster_route(document["route"])}


@asynccontextmanager
async def watched(tools: Tools, folder: Path) -> AsyncIterator[Watched]:
    """Run everything."""
    async with AsyncExitStack() as stack:
        told = await stack.enter_async_context(receiver())
        groups = [Group("small", 2, {}), Group("large", 1, {})]
        workers = await stack.enter_async_context(fleet(groups, folder))
        manager = alertmanager_server(tools.alertmanager, folder, routing(folder, told.url))
        address = await asyncio.to_thread(stack.enter_context, manager)
        gateway = await asyncio.to_thread(
            stack.enter_context, served(folder, settings(workers), within_s=60)
        )
        faster = folder / "rules"
        faster.mkdir()
        targets = [gateway.url.removeprefix("http://")]
        watching = prometheus_server(
            tools.prometheus,
            folder,
            [{"job_name": "entroute", "static_configs": [{"targets": targets}]}],
            rules=[faster_rules(path, faster) for path in sorted(RULES.glob("*.yaml"))],
            alerting={"alertmanagers": [{"static_configs": [{"targets": [address]}]}]},
        )
        prometheus = await asyncio.to_thread(stack.enter_context, watching)
        await _until(prometheus, "sum(entroute:workers_callable:count) == 3")
        yield Watched(workers, prometheus, told)


async def _until(prometheus: Prometheus, promql: str) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not await asyncio.to_thread(prometheus.query, promql):  # noqa: ASYNC110
            await asyncio.sleep(0.2)


def _address(worker: FleetWorker) -> str:
    return worker.url.removeprefix("http://")


async def test_workers_die_and_come_back(tools: Tools, tmp_path: Path) -> None:
    async with watched(tools, tmp_path) as there:
        one, last = there.fleet.by_name("small1"), there.fleet.by_name("large0")
        await one.kill()
        fired = await there.told.one("FIRING ticket: EntrouteWorkerDown", WITHIN_S)
        assert fired.text.strip() == (
            f"entroute: worker {_address(one)} of tier small is down: "
            f"{TOLD['EntrouteWorkerDown']} (runbook.md#entrouteworkerdown)"
        )
        await one.start()
        resolved = await there.told.one("RESOLVED ticket: EntrouteWorkerDown", WITHIN_S)
        assert resolved.text == fired.text
        await last.kill()
        paged = await there.told.one("FIRING page: EntrouteTierDown", WITHIN_S)
        # One line: the tier that has lost one of two workers was not down.
        assert re.fullmatch(
            r"entroute: no worker of tier large can be called: .*\(runbook.md#entroutetierdown\)",
            paged.text.strip(),
        )
        await last.start()
        await there.told.one("RESOLVED page: EntrouteTierDown", WITHIN_S)
        evaluated = await asyncio.to_thread(there.prometheus.rules)
        assert [rule["name"] for rule in evaluated if rule["health"] != "ok"] == []
