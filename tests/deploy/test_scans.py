"""What scanners find in the image's recipe, the chart and the tree."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.images import ROOT
from tests.deploy.tools import Tools

pytestmark = pytest.mark.deploy

IGNORED = Path(__file__).with_name("trivy-ignore.yaml")
OFFLINE = ["--skip-version-check", "--quiet", "--format", "json"]
"""With `--skip-check-update` trivy uses the checks built into it, and asks nobody."""

PRIVATE_KEY = "-----BEGIN {0} PRIVATE KEY-----\n{1}\n-----END {0} PRIVATE KEY-----\n"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is tracked, or would be: not what tools and builds left."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    folder = tmp_path_factory.mktemp("scanned") / "tree"
    for name in listed.split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    return folder


def trivy(tools: Tools, folder: Path, *words: str) -> list[dict[str, Any]]:
    """Return what trivy tells of each file below a folder."""
    own = [*OFFLINE, *(["--skip-check-update"] if words[0] == "config" else [])]
    done = _run(tools.trivy, words[0], *own, *words[1:], str(folder))
    assert done.returncode == 0, done.stderr
    results: list[dict[str, Any]] = json.loads(done.stdout).get("Results", [])
    return results


def failures(results: list[dict[str, Any]]) -> list[str]:
    return [
        f"{result['Target']}: {found['ID']} {found['Severity']} {found['Message']}"
        for result in results
        for found in result.get("Misconfigurations", [])
    ]


def leaks(tools: Tools, folder: Path, report: Path) -> list[str]:
    """Return what gitleaks finds below a folder."""
    config = ["--config", str(ROOT / ".gitleaks.toml"), "--report-path", str(report)]
    done = _run(tools.gitleaks, "dir", "--no-banner", "--exit-code", "0", *config, str(folder))
    assert done.returncode == 0, done.stderr
    found = json.loads(report.read_text(encoding="utf-8"))
    return [f"{leak['File']}:{leak['StartLine']}: {leak['RuleID']}" for leak in found]


def test_the_image_is_built_as_it_should_be(tools: Tools, tmp_path: Path) -> None:
    shutil.copy(ROOT / "Dockerfile", tmp_path)
    results = trivy(tools, tmp_path, "config", "--ignorefile", str(IGNORED))
    assert failures(results) == []
    assert results[0]["MisconfSummary"]["Successes"] > 20


@pytest.fixture(scope="module")
def rendered(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every profile of the chart as the manifests that it makes."""
    folder = tmp_path_factory.mktemp("rendered")
    for profile in sorted((ROOT / "helm/entroute/profiles").glob("*.yaml")):
        chart = ["template", "scanned", str(ROOT / "helm/entroute"), "--values", str(profile)]
        done = _run(tools.helm4, *chart, "--namespace", "scanned")
        assert done.returncode == 0, done.stderr
        (folder / profile.name).write_text(done.stdout, encoding="utf-8")
    return folder


def test_the_chart_is_hardened(tools: Tools, rendered: Path) -> None:
    results = trivy(tools, rendered, "config", "--ignorefile", str(IGNORED))
    assert failures(results) == []
    assert {result["Target"] for result in results} == {path.name for path in rendered.iterdir()}
    assert all(result["MisconfSummary"]["Successes"] > 50 for result in results)


def test_every_exception_is_needed(tools: Tools, rendered: Path) -> None:
    found = {line.split()[1] for line in failures(trivy(tools, rendered, "config"))}
    ignored = yaml.safe_load(IGNORED.read_text(encoding="utf-8"))["misconfigurations"]
    assert {entry["id"] for entry in ignored} == found
    assert all(entry["statement"] for entry in ignored)


def test_no_secret_lies_in_the_tree(tools: Tools, tree: Path, tmp_path: Path) -> None:
    results = trivy(tools, tree, "fs", "--scanners", "secret")
    assert [result["Target"] for result in results if result.get("Secrets")] == []
    assert leaks(tools, tree, tmp_path / "leaks.json") == []


def test_a_secret_in_the_tree_would_be_found(tools: Tools, tmp_path: Path) -> None:
    planted = tmp_path / "tree"
    planted.mkdir()
    body = "\n".join(["MIIEowIBAAKCAQEAv5Zk0bM1q7Yw9J3eR8tU2xN6hGdLsKfPaQcVoXiWzEjTnYrB"] * 6)
    (planted / "server.key").write_text(PRIVATE_KEY.format("RSA", body), encoding="utf-8")
    assert any(r.get("Secrets") for r in trivy(tools, planted, "fs", "--scanners", "secret"))
    assert leaks(tools, planted, tmp_path / "leaks.json") != []


def _run(program: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *words], capture_output=True, text=True, check=False)
