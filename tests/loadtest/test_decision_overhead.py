"""The measurement of what deciding costs."""

from pathlib import Path
from random import Random

import orjson
import pytest

from loadtest.decision_overhead import compared, main, ratio_interval, text_of, timed


def seeded(seed: int) -> Random:
    return Random(seed)  # noqa: S311 - a test repeats itself


def test_the_ratio_of_medians_lies_in_its_interval() -> None:
    rng = seeded(3)
    fixed = [rng.lognormvariate(0, 0.3) for _ in range(200)]
    decided = [2 * value * rng.lognormvariate(0, 0.1) for value in fixed]
    found = compared({"decided": decided, "fixed": fixed}, seeded(1))
    assert found["ratio_low"] < found["ratio"] < found["ratio_high"]
    assert found["ratio_low"] < 2 < found["ratio_high"]
    assert found["pairs"] == 200


def test_equal_times_have_a_ratio_of_one() -> None:
    assert ratio_interval([3.0] * 9, [3.0] * 9, seeded(1)) == (1.0, 1.0)


@pytest.mark.parametrize("words", [1, 50, 1000])
def test_texts_have_the_words_they_are_asked_for(words: int) -> None:
    assert len(text_of(words).split()) == words


def test_every_repetition_is_timed_and_warm_ones_come_before() -> None:
    calls: list[int] = []
    found = timed(lambda: calls.append(1), 100)
    assert len(calls) == 110
    assert 0 < found["p50_us"] <= found["p99_us"]


def test_everything_is_measured_and_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "found.json"
    main(["--repetitions", "20", "--pairs", "10", "--json", str(path)])
    found = orjson.loads(path.read_bytes())
    assert {name for name in found["alone"] if name.startswith("decide")} == {
        "decide number",
        "decide code",
    }
    for name in ("decide number", "decide code"):
        assert found["alone"][name]["basis"] == "predicted"
        assert found["alone"][name]["plans"] >= 2
    assert found["in_path"]["pairs"] == 10
    assert sum(found["in_path"]["strategies"]["static"].values()) == 10
    assert capsys.readouterr().out.splitlines()[-1].startswith("medians: read 50 words ")
