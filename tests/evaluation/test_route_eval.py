import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from entroute.errors import ConfigurationError
from entroute.evaluation.commands_route_eval import register
from entroute.evaluation.route_eval import as_row, evaluate, mean_within
from tests.profile.texts import TIERS, labelled, prompts

KEYS = ["apgr", "apgr_low", "apgr_high", "cpt50", "cpt80", "length_apgr", "oracle_apgr", "n"]


def written(path: Path, count: int, *, seed: int = 0, scale: float = 1, cost: bool = False) -> Path:
    texts = [text for text, _ in prompts(count, seed)]
    with path.open("w") as file:
        for text, row in zip(texts, labelled(count, seed), strict=True):
            score = {
                name: 1 + scale * row.right[tier] for name, tier in zip("ws", TIERS, strict=True)
            }
            line = {"question": text, "score": score, "task": row.task}
            if cost:
                line["cost"] = {"w": 0.5, "s": 2.0}
            file.write(json.dumps(line) + "\n")
    return path


@pytest.fixture
def learn(tmp_path: Path) -> Path:
    return written(tmp_path / "learn.jsonl", 200)


@pytest.fixture
def judge(tmp_path: Path) -> Path:
    return written(tmp_path / "judge.jsonl", 120, seed=5)


def run(*args: str | Path) -> dict[str, float | None]:
    app = typer.Typer()
    register(app)
    app.command("other")(lambda: None)
    words = ["route-eval", *map(str, args), "--weak", "w", "--strong", "s", "--json"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    found: dict[str, float | None] = json.loads(done.stdout)
    return found


def test_what_was_learned_routes_better_than_length(learn: Path, judge: Path) -> None:
    report = evaluate([learn], judge, "w", "s")
    assert not report.cross_fitted
    assert report.router.value > 0.7
    assert report.difference.low > 0
    assert report.router.low < report.router.value < report.router.high
    assert report.oracle >= report.router.value
    assert report.cpt50 is not None
    assert report.cpt80 is not None
    assert report.cpt50 < 0.35 < report.cpt80 + 0.1


def test_recognising_the_task_counts_nothing_within_it(learn: Path, judge: Path) -> None:
    report = evaluate([learn], judge, "w", "s")
    assert [group.name for group in report.groups] == ["maths", "shopping"]
    assert report.groups[0].strong_share > 0.9
    assert mean_within(report) < report.router.value


def test_prompts_of_the_fit_are_predicted_by_fits_that_have_not_seen_them(tmp_path: Path) -> None:
    # Labels are coins: whoever predicts them has seen them.
    path = tmp_path / "coins.jsonl"
    lines = []
    for place, (text, _) in enumerate(prompts(150)):
        weak = (place * 7919 % 101) % 2
        lines += [
            json.dumps({"question": text, "score": {"w": weak, "s": 1 - weak * (place % 3 == 0)}})
        ] * 2
    path.write_text("\n".join(lines))
    report = evaluate([path], path, "w", "s")
    assert report.cross_fitted
    assert report.n == 300
    assert 0.3 < report.router.value < 0.65


def test_the_same_command_gives_the_same_figures(learn: Path) -> None:
    first, second = (evaluate([learn], learn, "w", "s", seed=3, folds=2) for _ in range(2))
    assert first == second


def test_files_of_other_score_scales_are_learned_together(tmp_path: Path, judge: Path) -> None:
    graded = written(tmp_path / "graded.jsonl", 100, seed=7, scale=9)
    plain = written(tmp_path / "plain.jsonl", 100, seed=8)
    assert evaluate([graded, plain], judge, "w", "s").router.value > 0.7


def test_costs_of_the_file_are_the_hulls_unit(tmp_path: Path, learn: Path) -> None:
    dear = written(tmp_path / "dear.jsonl", 120, seed=5, cost=True)
    hull = evaluate([learn], dear, "w", "s").hull
    assert hull[0][0] == pytest.approx(0.25)
    assert hull[-1][0] <= 1
    assert hull == tuple(sorted(hull))


def test_one_fit_takes_several_files_and_may_be_repeated(
    tmp_path: Path, learn: Path, judge: Path
) -> None:
    more = written(tmp_path / "more.jsonl", 100, seed=9)
    together = run("--fit", learn, more, "--on", judge)
    assert list(together) == KEYS
    assert together["n"] == 120
    assert together == run("--on", judge, "--fit", learn, "--fit", more)
    assert together != run("--fit", learn, "--on", judge)


def test_without_json_tables_are_printed(learn: Path, judge: Path) -> None:
    app = typer.Typer()
    register(app)
    args = ["--fit", str(learn), "--on", str(judge), "--weak", "w", "--strong", "s"]
    done = CliRunner().invoke(app, args)
    assert done.exit_code == 0
    for word in ("random", "length", "oracle", "paired", "shopping", "hull"):
        assert word in done.stdout


def test_equally_good_models_give_null_not_nan(tmp_path: Path, learn: Path) -> None:
    path = tmp_path / "even.jsonl"
    row = json.dumps({"question": "Tell me about the fruit market?", "score": {"w": 1, "s": 1}})
    path.write_text(row)
    found = as_row(evaluate([learn], path, "w", "s"))
    assert found["apgr"] is None
    assert found["cpt50"] is None
    assert found["n"] == 1


def test_a_model_that_a_fit_file_lacks_is_named(tmp_path: Path, learn: Path, judge: Path) -> None:
    other = tmp_path / "other.jsonl"
    other.write_text('{"question": "x", "score": {"a": 1, "b": 0}}')
    with pytest.raises(ConfigurationError, match=r"other\.jsonl.*'w'.*a, b"):
        evaluate([learn, other], judge, "w", "s")


def test_one_name_twice_is_refused(learn: Path, judge: Path) -> None:
    with pytest.raises(ConfigurationError, match="--weak and --strong"):
        evaluate([learn], judge, "w", "w")


def test_more_folds_than_prompts_are_refused(learn: Path) -> None:
    with pytest.raises(ConfigurationError, match="--folds"):
        evaluate([learn], learn, "w", "s", folds=500)
