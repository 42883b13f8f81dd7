"""The chart as it is handed on: linted, packaged, and what it says after an installation."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.deploy.chart import CHART, Object, rendered, template
from tests.deploy.chart_cases import CASES, FULL, KEPT_REDIS, MINIMAL, PROFILES, Values, but
from tests.deploy.tools import Tools

pytestmark = pytest.mark.deploy


def run(helm: Path, *words: str) -> str:
    done = subprocess.run([helm, *words], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_linter_has_nothing_to_say(tools: Tools) -> None:
    for helm in (tools.helm3, tools.helm4):
        words = [str(word) for path in (None, *PROFILES) for word in _lint(path)]
        for start in range(0, len(words), 5):
            said = run(helm, *words[start : start + 5])
            assert "[WARNING]" not in said
            assert "[ERROR]" not in said


def _lint(profile: Path | None) -> list[str]:
    values = CHART / "values.yaml" if profile is None else profile
    return ["lint", "--strict", str(CHART), "-f", str(values)]


def test_a_package_holds_all_that_the_folder_does(tools: Tools, tmp_path: Path) -> None:
    for helm in (tools.helm3, tools.helm4):
        run(helm, "package", str(CHART), "-d", str(tmp_path))
        [package] = tmp_path.glob("entroute-*.tgz")
        assert template(helm, FULL, chart=package) == template(helm, FULL)
        package.unlink()


def test_the_chart_can_be_a_part_of_another(tools: Tools, tmp_path: Path) -> None:
    chart = tmp_path / "whole"
    (chart / "charts").mkdir(parents=True)
    shutil.copytree(CHART, chart / "charts/entroute")
    (chart / "Chart.yaml").write_text("{apiVersion: v2, name: whole, version: 1.0.0}")
    values = {"global": {"region": "eu"}, "entroute": dict(MINIMAL)}
    for helm in (tools.helm3, tools.helm4):
        text = template(helm, values, chart=chart, release="x")
        assert {one["metadata"]["name"] for one in yaml.safe_load_all(text) if one} >= {
            "x-entroute"
        }


def notes(helm: Path, values: Values, folder: Path) -> str:
    """Return NOTES.txt as an installation would print it: `helm template` leaves it out."""
    chart = folder / "entroute"
    shutil.copytree(CHART, chart, dirs_exist_ok=True)
    text = (chart / "templates/NOTES.txt").read_text(encoding="utf-8")
    (chart / "templates/_notes.tpl").write_text(
        '{{- define "notes" -}}' + text + "{{- end -}}", encoding="utf-8"
    )
    (chart / "templates/notes.yaml").write_text(
        "apiVersion: v1\nkind: Notes\nmetadata: {name: notes}\n"
        'text: |\n  {{- include "notes" . | nindent 2 }}\n',
        encoding="utf-8",
    )
    objects = [one for one in yaml.safe_load_all(template(helm, values, chart=chart)) if one]
    [found] = [one for one in objects if one["kind"] == "Notes"]
    return str(found["text"])


def test_notes_say_how_to_ask_and_what_is_missing(tools: Tools, tmp_path: Path) -> None:
    for helm in (tools.helm3, tools.helm4):
        said = notes(helm, MINIMAL, tmp_path)
        assert "/v1/chat/completions" in said
        assert "authorization" not in said
        assert "auth.allowUnauthenticated" in said
        assert "every gateway has its own cache" in said
        assert "No NetworkPolicy" in said
        one = notes(helm, but({"gateway": {"replicas": 1}}), tmp_path)
        assert "every gateway has its own cache" not in one
        full = notes(helm, FULL, tmp_path)
        assert "$ENTROUTE_KEY" in full
        assert "The bundled Redis has no second" in full
        assert "No NetworkPolicy" not in full
        assert "https://llm.example" in full
        assert "may make every system call" not in full
        assert "may make every system call" in notes(helm, KEPT_REDIS, tmp_path)


def test_notes_name_no_secret_and_every_tier_in_its_order(tools: Tools, tmp_path: Path) -> None:
    for values in CASES.values():
        said = notes(tools.helm3, values, tmp_path)
        places = [
            said.index(f"  {name}: ")
            for name in sorted(values["tiers"], key=lambda name: values["tiers"][name]["rank"])
        ]
        assert places == sorted(places)


def test_the_version_is_the_service_s(tools: Tools) -> None:
    from entroute import __version__

    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["appVersion"] == __version__
    objects: list[Object] = rendered(tools.helm3, MINIMAL)
    labels = objects[0]["metadata"]["labels"]
    assert labels["app.kubernetes.io/version"] == __version__
