"""`entroute size`: its file, its table, its refusals."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from entroute.cli import main
from entroute.deciding import shipped_profile
from entroute.errors import ConfigurationError
from entroute.evaluation.sizing_file import MixSettings, busiest_minute, read_sizing
from entroute.evaluation.sizing_mix import needs_of, plan_needs
from entroute.profile.profile import read_profile
from tests.evaluation.forward_times import written_table

RUNTIME = {"kind": "runtime", "prompt_s": 0.0064, "stream_token_s": 0.146, "batch": 4}
FILE: dict[str, Any] = {
    "traffic": {"requests_per_s": 2, "prompt_tokens": 120, "completion_tokens": 170},
    "mix": {"calls": {"small": {"calls": 1.5, "answers": 1.2}, "large": {"calls": 0.3}}},
    "tiers": {
        "small": {"worker": RUNTIME, "usd_per_gpu_hour": 0.5},
        "large": {
            "worker": {"kind": "runtime", "prompt_s": 0.0138, "stream_token_s": 0.315, "batch": 4},
            "usd_per_gpu_hour": 1,
        },
    },
}


def written(folder: Path, row: Any) -> Path:
    path = folder / "size.yaml"
    path.write_text(yaml.safe_dump(row, sort_keys=False))
    return path


def changed(path: str, value: Any) -> dict[str, Any]:
    row: dict[str, Any] = json.loads(json.dumps(FILE))
    place = row
    *parents, last = path.split(".")
    for parent in parents:
        place = place.setdefault(parent, {})
    place[last] = value
    return row


def run(path: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(["size", str(path), *options])
    assert stopped.value.code == 0
    return capsys.readouterr().out


def test_the_report_has_the_mix_and_each_tier_alone(tmp_path: Path, capsys):
    report = json.loads(run(written(tmp_path, FILE), capsys, "--json"))
    assert list(report["arms"]) == ["mix", "always small", "always large"]
    mix = report["arms"]["mix"]
    assert mix["tiers"]["small"]["calls_per_s"] == pytest.approx(3.0)
    assert mix["tiers"]["large"]["calls_per_s"] == pytest.approx(0.6)
    workers = {name: tier["replicas"] for name, tier in mix["tiers"].items()}
    assert mix["usd_per_hour"] == workers["small"] * 0.5 + workers["large"] * 1.0
    assert all(0 < tier["utilisation"] <= 0.7 for tier in mix["tiers"].values())


def test_the_table_shows_the_same(tmp_path: Path, capsys):
    shown = run(written(tmp_path, FILE), capsys)
    assert "always large" in shown
    assert "USD per 1000" in shown
    assert "TTFT p95" in shown


def test_workers_by_forward_times_and_a_trace(tmp_path: Path, capsys):
    written_table(tmp_path)
    rows = "\n".join(f"{i / 2},{100 + i % 50},{20 + i % 9}" for i in range(400))
    (tmp_path / "trace.csv").write_text(f"arrival_s,input_tokens,output_tokens\n{rows}\n")
    worker = {"kind": "forward_times", "file": "times.csv", "gpu": "a100"}
    row = {
        "traffic": {"trace": "trace.csv"},
        "mix": {"calls": {"small": {"calls": 1}}},
        "tiers": {"small": {"worker": {**worker, "model": "Meta-Llama-3-8B"}}},
        "target": {"ttft_s": 1},
    }
    row["tiers"]["small"]["usd_per_gpu_hour"] = 2  # type: ignore[index]
    report = json.loads(run(written(tmp_path, row), capsys, "--json"))
    assert report["traffic"]["requests_per_s"] == pytest.approx(2.0)
    assert report["arms"]["mix"]["usd_per_hour"] == 2
    assert report["arms"]["mix"]["tiers"]["small"]["ttft_s"] < 1


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("traffic.requests_per_s", -1, "traffic.requests_per_s"),
        ("traffic.trace", "a.csv", "traffic: Value error, give a trace, or prompt_tokens"),
        ("mix.plans", {"large x1": 1}, "mix: Value error, give calls by tier, or plans"),
        ("mix.calls.large.calls", -0.1, "mix.calls.large.calls"),
        ("mix.calls", {"small": {"calls": 0}}, "mix: Value error, calls: no tier is asked"),
        ("tiers.small.worker.batch", 0, "tiers.small.worker.runtime.batch"),
        ("tiers.small.worker.kind", "magic", "tiers.small.worker"),
        ("tiers.small.gpu_price", 3, "tiers.small.gpu_price"),
        ("target.utilisation", 1, "target.utilisation"),
        ("target.ttft_s", float("nan"), "target.ttft_s"),
        ("gateway.cpu_s_per_token", -1, "gateway.cpu_s_per_token"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, path: str, value: Any, said: str):
    file = tmp_path / "size.yaml"
    file.write_text(yaml.safe_dump(changed(path, value)))
    with pytest.raises(ConfigurationError, match=said):
        read_sizing(file)


def test_a_file_that_is_no_section_is_refused(tmp_path: Path):
    with pytest.raises(ConfigurationError, match=r"size\.yaml: all of it: Input should be"):
        read_sizing(written(tmp_path, []))


def test_long_names_stay_whole_in_a_narrow_table(
    tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "80")
    row = json.loads(json.dumps(FILE).replace('"small"', '"a-tier-of-a-model-with-a-long-name"'))
    assert "…" not in run(written(tmp_path, row), capsys)


def test_an_unknown_tier_is_refused(tmp_path: Path, capsys):
    row = changed("mix.calls.huge", {"calls": 1})
    with pytest.raises(SystemExit) as stopped:
        main(["size", str(written(tmp_path, row))])
    assert stopped.value.code == 2
    assert "mix: the tier huge is not in tiers" in capsys.readouterr().err


def test_a_missing_table_is_named_with_its_tier(tmp_path: Path, capsys):
    worker = {"kind": "forward_times", "file": "no.csv", "gpu": "a100", "model": "m"}
    with pytest.raises(SystemExit):
        main(["size", str(written(tmp_path, changed("tiers.small.worker", worker)))])
    assert "tiers.small.worker: " in capsys.readouterr().err


def test_plans_are_charged_with_all_that_calibration_saw():
    profile = read_profile(shipped_profile())
    one = plan_needs(profile, "large x1")
    assert list(one) == ["large"]
    assert one["large"].calls == pytest.approx(1.0)
    voted = plan_needs(profile, "small clusters 8")
    assert voted["small"].calls == pytest.approx(8.0)
    checked = plan_needs(profile, "small checked <=1 -> large")
    assert checked["small"].calls == pytest.approx(1.0)
    assert 0.4 < checked["large"].calls < 0.8


def test_shares_of_plans_are_scaled_to_one():
    mix = MixSettings(plans={"large x1": 3, "small x1": 1})
    needs = needs_of(mix, shipped_profile(), Path())
    assert needs["large"].calls == pytest.approx(0.75)
    assert needs["small"].calls == pytest.approx(0.25)


def test_an_unknown_plan_is_named_with_those_there_are():
    mix = MixSettings(plans={"huge x1": 1})
    with pytest.raises(ConfigurationError, match=r"'huge x1' is no plan .* small x1, large x1"):
        needs_of(mix, shipped_profile(), Path())


def test_the_busiest_minute_is_the_rate():
    assert busiest_minute([0.0, 1.0, 100.0, 110.0, 120.0, 159.0, 161.0]) == pytest.approx(4 / 60)
