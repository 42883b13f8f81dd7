import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from entroute.errors import ConfigurationError
from entroute.evaluation import commands_replay
from entroute.evaluation.bank_arms import ORACLE, POLICY, UNIFORM
from entroute.evaluation.commands_replay import COSTS
from tests.evaluation.banks import VISIBLE, a_bank


def ran(*arguments: object) -> str:
    """Run the command and return what it prints."""
    app = typer.Typer()
    commands_replay.register(app)
    result = CliRunner().invoke(app, list(map(str, arguments)), env={"COLUMNS": "200"})
    if result.exception is not None:
        raise result.exception
    return result.stdout


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """The options of a bank whose plans were replayed."""
    folder = tmp_path_factory.mktemp("replayed")
    bank, prompts = a_bank(folder, VISIBLE)
    options: list[object] = ["--bank", bank, "--prompts", prompts, "--repeats", 2, "--batch", 1]
    return [*options, "--ratio", 3, "--episodes", folder / "episodes.gz"]


def test_a_bank_prints_its_arms_as_one_object(bank: list[object], tmp_path: Path) -> None:
    page = tmp_path / "bank.html"
    found = json.loads(ran(*bank, "--json", "--html", page))
    assert [arms["ratio"] for arms in found["arms"]] == [None, 3]
    primary = found["arms"][0]["compared"][0]
    assert (primary["baseline"], primary["cost"]) == (UNIFORM, COSTS[0])
    assert primary["p_holm"] == primary["p"]
    halved = [c for c in found["arms"][1]["compared"] if c["cost"] == COSTS[1]]
    gains = {c["baseline"]: c["gain"] for c in halved}
    assert gains[UNIFORM] > 0.05
    assert gains[ORACLE] <= 0
    assert found["measures"]["small brier_skill"] > 0.8
    html = page.read_text(encoding="utf-8")
    assert POLICY in html
    assert "at a cost ratio of 3" in html


def test_a_bank_is_shown_in_tables(bank: list[object]) -> None:
    shown = ran(*bank)
    for words in ("best uniform per task", "as measured", "large votes <=4", "brier_skill"):
        assert words in shown


def test_one_thing_is_replayed_at_a_time(bank: list[object]) -> None:
    with pytest.raises(ConfigurationError, match="one of --rule, --agreement and --bank"):
        ran()
    with pytest.raises(ConfigurationError, match="one of --rule, --agreement and --bank"):
        ran(*bank, "--agreement")


def test_what_is_missing_is_named(bank: list[object]) -> None:
    with pytest.raises(ConfigurationError, match="--prompts: give the file"):
        ran(*bank[:2])
    with pytest.raises(ConfigurationError, match="--samples: give the file of answers"):
        ran("--rule", "adaptive")
    with pytest.raises(ConfigurationError, match="--agreement needs --weak and --strong"):
        ran("--agreement", "--samples", "some.jsonl")


def test_rules_and_agreement_reach_their_replay(tmp_path: Path) -> None:
    samples = tmp_path / "samples.jsonl"
    with samples.open("w") as stream:
        for at in range(10):
            for model, text in (("weak", "aaaa" if at % 2 else "bcde"), ("strong", "aa")):
                row = {"id": f"q{at}", "task": "t", "model": model, "answers": list(text)}
                stream.write(json.dumps(row | {"correct": [int(x == "a") for x in text]}) + "\n")
    rule = json.loads(ran("--rule", "fixed", "--samples", samples, "--model", "weak", "--json"))
    assert rule["n"] == 10
    assert rule["accuracy"] == pytest.approx(0.5)
    options = ["--weak", "weak", "--strong", "strong", "--most", 2, "--ratio", 5, "--json"]
    found = json.loads(ran("--agreement", "--samples", samples, *options))
    assert [curve["ratio"] for curve in found["curves"]] == [5]
    assert found["n"] == 10
