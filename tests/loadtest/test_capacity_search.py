"""Searching the smallest fleet, its figures, and the command."""

import json
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from entroute.errors import ConfigurationError
from entroute.evaluation.lengths import Arrival
from entroute.evaluation.sizing import Supply
from entroute.evaluation.sizing_workers import Worker
from loadtest.capacity import main, ways_of
from loadtest.capacity_report import main as report_main
from loadtest.capacity_search import Scene, simulated, smallest
from loadtest.capacity_traffic import always, poisson, scaled
from tests.evaluation.forward_times import slow_gpu, written_table

SAMPLE = Path("loadtest/traces/azure_2023_conv_sample.csv")
SMALL = always("small")


def drawing(seed: int) -> Random:
    return Random(seed)  # noqa: S311 - a test repeats itself


def test_a_trace_is_scaled_to_a_rate():
    arrivals = [Arrival(10.0 + i, 5, 5) for i in range(101)]
    found = scaled(arrivals, 2.02, 20.0)
    assert found[0].at_s == 0.0
    assert found[-1].at_s <= 20.0
    assert len(found) == 41


def test_random_arrivals_are_the_same_requests_at_the_same_rate():
    arrivals = [Arrival(i / 10, i + 1, 5) for i in range(1, 2001)]
    found = poisson(arrivals, drawing(0))
    assert [a.prompt for a in found] == [a.prompt for a in arrivals]
    assert found[-1].at_s == pytest.approx(200, rel=0.1)
    gaps = [b.at_s - a.at_s for a, b in pairwise(found)]
    assert sum(gap > 0.2 for gap in gaps) / len(gaps) == pytest.approx(0.135, abs=0.03)


def scene(count: int = 900) -> Scene:
    supplies = {"small": Supply(Worker(slow_gpu(), 64, 1024, 400_000), 1, 2.0)}
    lengths = (1 + int(drawing(i).expovariate(0.01)) for i in range(count))
    evenly = [Arrival((i + 1) / 60, 400, length) for i, length in enumerate(lengths)]
    arrivals = poisson(evenly, drawing(5))
    return Scene(arrivals, supplies, "least_loaded", warm_s=5.0)


def test_the_smallest_fleet_keeps_the_bound_and_one_less_does_not():
    fleet, result = smallest(scene(), SMALL, {"small": 1}, 0.25)
    assert result.tiers["small"].ttft_p95 <= 0.25
    fewer = simulated(scene(), SMALL, {"small": fleet["small"] - 1})
    assert fewer.tiers["small"].ttft_p95 > 0.25
    assert smallest(scene(), SMALL, {"small": 9}, 0.25)[0] == fleet


def test_a_bound_that_nothing_keeps_is_refused():
    with pytest.raises(ConfigurationError, match=r"3 workers of small miss 0\.01 s"):
        smallest(scene(), SMALL, {"small": 1}, 0.01, most=3)


def test_results_are_the_same_by_seed():
    assert simulated(scene(), SMALL, {"small": 2}) == simulated(scene(), SMALL, {"small": 2})


def test_intervals_hold_the_figure():
    result = simulated(scene(6000), SMALL, {"small": 2})
    for figure in (*result.ttft.values(), *result.e2e.values()):
        assert 0 < figure.low <= figure.value <= figure.high
    assert result.tiers["small"].busy <= 1
    assert result.usd_per_hour == 4.0


@pytest.mark.parametrize("arm", ["huge", "cascade", "cascade=2", "small=1"])
def test_an_unknown_arm_is_refused(arm: str):
    with pytest.raises(ConfigurationError, match=f"--arms: {arm} is none of"):
        ways_of(arm, 24)


def test_the_command_writes_what_the_report_draws(tmp_path: Path, capsys):
    out = tmp_path / "sample.json"
    tiers = [f"--tier={name}=a100/Meta-Llama-3-8B/1" for name in ("small", "large")]
    times = written_table(tmp_path)
    arguments = [f"--trace={SAMPLE}", f"--forward-times={times}", f"--out={out}", *tiers]
    main([*arguments, "--seconds=120", "--arms=small,large,cascade=0.3"])
    report = json.loads(out.read_text())
    assert list(report["arms"]) == ["small", "large", "cascade=0.3"]
    arm = report["arms"]["cascade=0.3"]
    assert set(arm["fleet"]) == set(arm["size"]["fleet"]) == {"small", "large"}
    assert arm["result"]["tiers"]["small"]["ttft_p95"] <= 2
    capsys.readouterr()
    report_main([str(out), f"--plot={tmp_path / 'a.png'}"])
    assert "| cascade=0.3 |" in capsys.readouterr().out
    assert (tmp_path / "a.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--seconds=50", r"--seconds: .* first 60 s is not counted"),
        ("--arms=huge,small", "--arms: huge is none of"),
        ("--arms=large", "--tier: large is missing"),
    ],
)
def test_what_cannot_be_simulated_is_refused(tmp_path: Path, option: str, said: str):
    times = written_table(tmp_path)
    tier = "--tier=small=a100/Meta-Llama-3-8B/1"
    given = [f"--trace={SAMPLE}", f"--forward-times={times}", tier, "--seconds=120"]
    with pytest.raises(SystemExit, match=said):
        main([*given, option])


@pytest.mark.parametrize(
    "option",
    [
        "--rate=0",
        "--rate=-3",
        "--bound=nan",
        "--max-in-flight=0",
        "--max-num-seqs=0",
        "--window=0",
        "--balancer=fastest",
    ],
)
def test_wrong_options_are_named(tmp_path: Path, option: str, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([f"--trace={SAMPLE}", f"--forward-times={tmp_path}", option])
    assert stopped.value.code == 2
    assert f"argument {option.partition('=')[0]}: " in capsys.readouterr().err


def test_what_is_printed_is_json(tmp_path: Path, capsys):
    times = written_table(tmp_path)
    tier = "--tier=small=a100/Meta-Llama-3-8B/1"
    arguments = [f"--trace={SAMPLE}", f"--forward-times={times}", tier]
    main([*arguments, "--arms=small", "--seconds=90"])
    assert list(json.loads(capsys.readouterr().out)["arms"]) == ["small"]


def test_a_wrong_tier_is_refused(tmp_path: Path):
    times = written_table(tmp_path)
    with pytest.raises(SystemExit, match="--tier small=a100: write NAME="):
        main([f"--trace={SAMPLE}", f"--forward-times={times}", "--tier=small=a100"])
