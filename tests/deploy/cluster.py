"""A live cluster: a namespace that keeps Pod Security `restricted`, and the commands used on it.

Knows nothing of the chart.
"""

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml

from tests.deploy.chart import CHART, Object


@dataclass(frozen=True, slots=True)
class Cluster:
    """A namespace of a live cluster.

    Attributes:
        helm: The program.
        kubectl: The program.
        namespace: Its name.
    """

    helm: Path
    kubectl: Path
    namespace: str

    def run(self, program: Path, *words: str, given: str | None = None) -> str:
        """Return what a command prints.

        Raises:
            AssertionError: It failed; the message is what it said.
        """
        command = [str(program), "-n", self.namespace, *words]
        done = subprocess.run(
            command, input=given, capture_output=True, text=True, check=False, timeout=400
        )
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
        return done.stdout

    def take(self, one: Object, *words: str) -> None:
        """Apply an object on the server's side, unknown fields refused."""
        strict = ["--server-side", "--validate=strict", *words]
        self.run(self.kubectl, "apply", *strict, "-f", "-", given=json.dumps(one))

    def get(self, *words: str) -> dict[str, Any]:
        """Return an object."""
        found: dict[str, Any] = json.loads(self.run(self.kubectl, "get", *words, "-o", "json"))
        return found

    def release(self, verb: str, values: dict[str, Any], file: Path, *words: str) -> None:
        """Install or upgrade a release, and wait until it is ready."""
        file.write_text(yaml.safe_dump(values), encoding="utf-8")
        told = ["-f", str(file), "--wait", "--timeout", "5m"]
        self.run(self.helm, verb, "entroute", str(CHART), *told, *words)

    def serves(self, one: Object) -> bool:
        """Whether the cluster knows an object's kind."""
        group, _, version = one["apiVersion"].rpartition("/")
        path = f"/apis/{group}/{version}" if group else f"/api/{version}"
        command: Sequence[str] = [str(self.kubectl), "get", "--raw", path]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode:
            return False
        return one["kind"] in {kind["kind"] for kind in json.loads(done.stdout)["resources"]}


@contextmanager
def cluster(helm: Path, kubectl: Path) -> Iterator[Cluster]:
    """Make a namespace that refuses pods beyond `restricted`; delete it at the end."""
    there = Cluster(helm, kubectl, f"entroute-test-{uuid4().hex[:8]}")
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    about = {"name": there.namespace, "labels": labels}
    there.take({"apiVersion": "v1", "kind": "Namespace", "metadata": about})
    try:
        yield there
    finally:
        there.run(kubectl, "delete", "namespace", there.namespace, "--wait=false")
