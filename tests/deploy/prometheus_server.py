"""A real Prometheus for tests: it scrapes every second, evaluates rules every second."""

import json
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from entroute.embedded.engine import free_port

EVERY_S = 1
"""Seconds between scrapes, and between evaluations of rules."""

START_S = 60.0
_POLL_S = 0.05


class QueryFailed(Exception):
    """Prometheus refused a query; the message is its own."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One series of an instant query's answer; a scalar has no labels."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A running Prometheus.

    Attributes:
        url: Its address, no path.
        log: What it has written.
        http: Asks it.
    """

    url: str
    log: Path
    http: httpx.Client

    def query(self, promql: str, at: float | None = None) -> list[Sample]:
        """Evaluate an expression now, or at a time in seconds since the epoch.

        Raises:
            QueryFailed: It cannot be evaluated.
        """
        data = self._asked("query", {"query": promql, **({} if at is None else {"time": str(at)})})
        if data["resultType"] in {"scalar", "string"}:
            return [Sample({}, float(data["result"][1]))]
        return [Sample(each["metric"], float(each["value"][1])) for each in data["result"]]

    def query_range(
        self, promql: str, start: float, end: float, step_s: float = EVERY_S
    ) -> dict[tuple[tuple[str, str], ...], list[tuple[float, float]]]:
        """Evaluate an expression over a time; return (second, value) pairs by sorted labels.

        Raises:
            QueryFailed: It cannot be evaluated.
        """
        asked = {"query": promql, "start": str(start), "end": str(end), "step": str(step_s)}
        data = self._asked("query_range", asked)
        return {
            tuple(sorted(each["metric"].items())): [(at, float(v)) for at, v in each["values"]]
            for each in data["result"]
        }

    def series(self, selector: str) -> list[dict[str, str]]:
        """Return the labels of every series that a selector finds, `__name__` among them."""
        found: list[dict[str, str]] = self._asked("series", {"match[]": selector})
        return found

    def label_values(self, label: str, selector: str | None = None) -> list[str]:
        """Return the values of a label, of the series that a selector finds."""
        asked = {} if selector is None else {"match[]": selector}
        found: list[str] = self._asked(f"label/{label}/values", asked)
        return found

    def metadata(self) -> dict[str, list[dict[str, str]]]:
        """Return type and help of every metric that it scrapes."""
        found: dict[str, list[dict[str, str]]] = self._asked("metadata", {})
        return found

    def rules(self) -> list[dict[str, Any]]:
        """Return every rule with its state, health and last error."""
        groups: list[dict[str, Any]] = self._asked("rules", {})["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def targets(self) -> dict[str, str]:
        """Return the health of every target, by its address: up, down or unknown."""
        active: list[dict[str, Any]] = self._asked("targets", {"state": "active"})["activeTargets"]
        return {target["labels"]["instance"]: target["health"] for target in active}

    def _asked(self, what: str, parameters: Mapping[str, str]) -> Any:
        answer = self.http.get(f"{self.url}/api/v1/{what}", params=dict(parameters))
        body = answer.json()
        if body["status"] != "success":
            raise QueryFailed(f"{body['error']}: {json.dumps(dict(parameters))}")
        return body["data"]


@contextmanager
def prometheus_server(
    program: Path,
    folder: Path,
    scrape: Sequence[Mapping[str, Any]],
    rules: Sequence[Path] = (),
    alerting: Mapping[str, Any] | None = None,
) -> Iterator[Prometheus]:
    """Run Prometheus on a free port, its files in `folder`, and stop it on leaving.

    Args:
        program: Its binary.
        folder: For its configuration, its log and its data.
        scrape: Its `scrape_configs`.
        rules: Rule files.
        alerting: Its `alerting`.

    Raises:
        RuntimeError: It did not start; the message holds its log.
    """
    every = f"{EVERY_S}s"
    document = {
        "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
        "scrape_configs": [dict(each) for each in scrape],
        "rule_files": [str(path) for path in rules],
        **({} if alerting is None else {"alerting": dict(alerting)}),
    }
    config = folder / "prometheus.yml"
    config.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    with _running(program, config) as running:
        yield running


@contextmanager
def _running(program: Path, config: Path) -> Iterator[Prometheus]:
    folder = config.parent
    port = free_port()
    log = folder / "prometheus.log"
    command = [
        str(program),
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--web.enable-lifecycle",
    ]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=folder)
    try:
        with httpx.Client(timeout=30) as http:
            running = Prometheus(f"http://127.0.0.1:{port}", log, http)
            _until_ready(running, process)
            yield running
    finally:
        process.terminate()
        process.wait()


def _until_ready(running: Prometheus, process: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + START_S
    while time.monotonic() < give_up and process.poll() is None:
        try:
            if running.http.get(f"{running.url}/-/ready").is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(_POLL_S)
    raise RuntimeError(f"Prometheus is not ready; its log:\n{running.log.read_text()[-3000:]}")
