import json
from pathlib import Path
from typing import Any

import pytest

from entroute.errors import ConfigurationError
from entroute.evaluation.answer_samples import Selection
from entroute.evaluation.commands_rules import replay_agreement, replay_rule

KEYS = {
    "rule",
    "n",
    "accuracy",
    "samples_mean",
    "accuracy_all",
    "samples_all",
    "difference_low",
}


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    """Twelve prompts: a weak model that scatters where it is wrong, a strong one that is right."""
    path = tmp_path / "samples [1].jsonl"
    with path.open("w") as stream:
        for at in range(12):
            letters = "aaaaaaaa" if at % 2 else "bcdefghi"
            for model, text in (("weak [x]", letters), ("strong", "aa")):
                row: dict[str, Any] = {"id": f"q{at}", "task": "t", "model": model}
                row |= {"answers": list(text), "correct": [int(x == "a") for x in text]}
                stream.write(json.dumps(row) + "\n")
    return path


def test_a_rule_prints_one_object(samples: Path, capsys: pytest.CaptureFixture[str]) -> None:
    replay_rule("fixed", [samples], as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert set(found) == KEYS
    assert (found["rule"], found["n"]) == ("fixed", 24)
    assert found["accuracy"] == found["accuracy_all"] == pytest.approx(0.75)
    assert found["samples_mean"] == found["samples_all"] == pytest.approx(5)
    assert found["difference_low"] == 0


def test_options_reach_the_rule(samples: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawn = []
    for level in (0.5, 0.9, None):
        kept = Selection(models=("weak [x]",))
        replay_rule("adaptive", [samples], level=level, selection=kept, as_json=True)
        drawn.append(json.loads(capsys.readouterr().out)["samples_mean"])
    # The half that agrees stops after 1, 3 or 4; the half that scatters at .5 after 1, else never.
    assert drawn == pytest.approx([1, 5.5, 6])


def test_tables_name_models_and_levels(samples: Path, capsys: pytest.CaptureFixture[str]) -> None:
    replay_rule("reasc", [samples])
    shown = capsys.readouterr().out
    for words in ("weak [x]", "strong", "all", "0.5-0.6", "0.9-1.0", "low 95%"):
        assert words in shown


def test_a_page_repeats_its_command(samples: Path, tmp_path: Path) -> None:
    page = tmp_path / "rule.html"
    replay_rule("reasc", [samples], level=0.9, most=4, html=page, as_json=True)
    html = page.read_text()
    assert "entroute replay --rule=reasc --samples" in html
    assert "--level 0.9 --most 4 --permutations 20 --seed 0" in html
    assert "fixed number of samples" in html


def test_a_cascade_prints_its_curves(samples: Path, capsys: pytest.CaptureFixture[str]) -> None:
    replay_agreement([samples], "weak [x]", "strong", ratios=(20, 2), most=2, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["n"], found["accuracy_weak"], found["accuracy_strong"]) == (12, 0.5, 1)
    assert [curve["ratio"] for curve in found["curves"]] == [20, 2]
    assert found["curves"][0]["apgr"] > 0.6 > found["curves"][1]["apgr"]
    point = next(p for p in found["curves"][0]["points"] if p["rule"] == "2 of 2")
    assert point["cost"] == pytest.approx(0.6)
    assert point["quality"] == pytest.approx(1)


def test_a_cascade_shows_areas_and_writes_a_page(
    samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "agreement.html"
    replay_agreement([samples], "weak [x]", "strong", tasks=("t",), html=page)
    shown = capsys.readouterr().out
    assert "1:20" in shown
    assert "2 of 2" in shown
    html = page.read_text()
    assert "entroute replay --agreement --samples" in html
    assert "--task t --ratio 20.0" in html


def test_a_page_that_cannot_be_written_is_refused(samples: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"absent/rule\.html: cannot be written"):
        replay_rule("fixed", [samples], as_json=True, html=tmp_path / "absent" / "rule.html")
