from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from entroute.errors import ConfigurationError
from entroute.evaluation import commands_calibrate
from entroute.evaluation.bank import read_bank, summarised
from entroute.evaluation.commands_calibrate import calibrate, opened, runtimes_of
from entroute.profile.plans import Runtime
from entroute.profile.profile import read_profile
from tests.evaluation.banks import MANNER, MODELS, VISIBLE, World, a_bank
from tests.evaluation.recorded import prompts_at

OPTIONS = ["--repeats", "2", "--batch", "1"]
"""As `MANNER`."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bank that was calibrated, with its episodes."""
    folder = tmp_path_factory.mktemp("calibrated")
    a_bank(folder, VISIBLE)
    output = ran(folder, "--out", str(folder / "profile.json.gz"))
    assert output.startswith(f"{folder / 'profile.json.gz'}: 4 plans, fitted on 120 prompts\n")
    assert "small brier_skill" in output
    return folder


def ran(folder: Path, *arguments: str) -> str:
    """Run the command on a folder's bank and return what it prints."""
    app = typer.Typer()
    commands_calibrate.register(app)
    files = ["--bank", str(folder / "bank.jsonl.gz"), "--prompts", str(folder / "prompts.jsonl")]
    kept = ["--episodes", str(folder / "episodes.gz")]
    result = CliRunner().invoke(app, [*files, *kept, *OPTIONS, *arguments])
    if result.exception is not None:
        raise result.exception
    return result.stdout


def test_a_profile_is_written_that_serving_reads(folder: Path) -> None:
    found = read_profile(folder / "profile.json.gz")
    found.check_models(MODELS)
    assert {plan.name for plan in found.plans} >= {"small x1", "large x1", "large votes <=4"}
    assert set(found.made.banks) == {"bank.jsonl.gz"}
    assert found.measures["small brier_skill"] > 0.8
    with pytest.raises(ConfigurationError, match="make one for these with"):
        found.check_models(MODELS | {"large": "another"})


def test_kept_episodes_are_used_again_and_give_the_same_profile(folder: Path) -> None:
    kept = folder / "episodes.gz"
    before = kept.stat().st_mtime_ns
    ran(folder, "--out", str(folder / "again.json"))
    assert kept.stat().st_mtime_ns == before
    again = read_profile(folder / "again.json")
    first = read_profile(folder / "profile.json.gz")
    assert again.model_copy(update={"made": first.made}) == first


def test_a_cost_that_is_named_is_aimed_at(folder: Path) -> None:
    ran(folder, "--out", str(folder / "cheap.json"), "--target-cost", "0.33")
    assert read_profile(folder / "cheap.json").target_cost == pytest.approx(0.33, abs=0.05)


def test_prompts_with_other_checks_make_old_episodes_useless(folder: Path, tmp_path: Path) -> None:
    kept = folder / "episodes.gz"
    content = kept.read_bytes()
    lines = (folder / "prompts.jsonl").read_text().replace('"answer": "1000"', '"answer": "1"')
    (tmp_path / "others.jsonl").write_text(lines)
    try:
        opened([folder / "bank.jsonl.gz"], tmp_path / "others.jsonl", MANNER, kept)
        assert kept.read_bytes() != content
    finally:
        kept.write_bytes(content)


def calibrated(bank: Path, prompts: Path, **options: object) -> str:
    """Return why a calibration is refused; nothing may be written."""
    out = bank.with_name("never.json")
    with pytest.raises(ConfigurationError) as error:
        calibrate(bank=[bank], prompts=prompts, out=out, **options)  # type: ignore[arg-type]
    assert not out.exists()
    return str(error.value)


def test_too_little_one_kind_summaries_and_cut_off_banks_are_refused(tmp_path: Path) -> None:
    bank, prompts = a_bank(tmp_path, World(count=40))
    assert "so 60 more" in calibrated(bank, prompts)
    bank, prompts = a_bank(tmp_path, World(chances=((1, 0), (1, 1))))
    assert "tier 'large' answers only 0 prompts wrong" in calibrated(bank, prompts)
    brief = tmp_path / "brief.jsonl.gz"
    summarised(read_bank(bank), brief)
    assert "is a summary" in calibrated(brief, prompts)
    bank.write_bytes(bank.read_bytes()[:-50])
    assert "cut off" in calibrated(bank, prompts)
    assert "no such file" in calibrated(tmp_path / "none.jsonl", prompts)


def test_a_bank_of_other_prompts_is_refused(tmp_path: Path) -> None:
    bank, _ = a_bank(tmp_path)
    row = {"id": "q000", "task": "number", "question": "Something else?"}
    prompts = prompts_at(tmp_path / "others.jsonl", [row])
    assert "asks something else than the bank" in calibrated(bank, prompts.path)


def test_runtimes_are_read_by_tier() -> None:
    assert runtimes_of([]) is None
    assert runtimes_of(["small=0,0.5,1,8", "large=0.001,1,2,4"]) == {
        "small": Runtime(prompt_s=0, token_s=0.5, stream_token_s=1, batch=8),
        "large": Runtime(prompt_s=0.001, token_s=1, stream_token_s=2, batch=4),
    }


@pytest.mark.parametrize("option", ["small", "small=1,2,3", "small=a,b,c,d", "small=0,-1,1,1"])
def test_a_runtime_that_is_none_is_refused(option: str) -> None:
    with pytest.raises(ConfigurationError, match="write TIER=PROMPT_S,TOKEN_S"):
        runtimes_of([option])
