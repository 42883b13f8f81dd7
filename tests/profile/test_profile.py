"""The profile's file: what is read back, and what is refused."""

import gzip
from pathlib import Path

import orjson
import pytest

from entroute.deciding import plan_strategies, shipped_profile
from entroute.errors import ConfigurationError
from entroute.profile.profile import Profile, read_profile, write_profile
from tests.fakes import strategy_parts
from tests.profiles import a_plan, a_profile

PROFILE = a_profile(a_plan("small x1", 0.4, 0.3), a_plan("large x1", 0.7, 1.0, tier="large"))
MODELS = {"small": "small-model", "large": "large-model"}


def row_of(profile: Profile) -> dict[str, object]:
    row = orjson.loads(profile.model_dump_json(by_alias=True))
    assert isinstance(row, dict)
    return row


@pytest.mark.parametrize("name", ["profile.json", "profile.json.gz"])
def test_a_profile_is_read_as_it_was_written(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_profile(path, PROFILE)
    assert read_profile(path) == PROFILE
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_the_same_profile_is_the_same_file(tmp_path: Path) -> None:
    one, other = tmp_path / "1.json.gz", tmp_path / "2.json.gz"
    write_profile(one, PROFILE)
    write_profile(other, PROFILE)
    assert one.read_bytes() == other.read_bytes()


def test_a_file_that_is_cut_off_is_refused_by_name(tmp_path: Path) -> None:
    whole, path = tmp_path / "whole.json.gz", tmp_path / "cut.json.gz"
    write_profile(whole, PROFILE)
    path.write_bytes(whole.read_bytes()[:-200])
    with pytest.raises(ConfigurationError, match=r"cut\.json\.gz: cut off"):
        read_profile(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema": "entroute-profile-0"}, "its schema is 'entroute-profile-0'"),
        ({"schema": None}, "its schema is None"),
        ({"unit_s": 0}, "unit_s: Input should be greater than 0"),
        ({"static_plan": "gone"}, "no plan is named 'gone'"),
        ({"surprise": 1}, "surprise: Extra inputs"),
    ],
)
def test_what_is_no_profile_is_refused(
    tmp_path: Path, change: dict[str, object], words: str
) -> None:
    path = tmp_path / "profile.json"
    path.write_bytes(orjson.dumps(row_of(PROFILE) | change))
    with pytest.raises(ConfigurationError, match=words):
        read_profile(path)


@pytest.mark.parametrize("content", [b"[]", b"not json", gzip.compress(b"{}")])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / ("x.json.gz" if content[:2] == b"\x1f\x8b" else "x.json")
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"x\.json"):
        read_profile(path)


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        read_profile(tmp_path / "gone.json")


def test_a_plan_may_not_be_given_twice() -> None:
    with pytest.raises(ValueError, match="given twice"):
        a_profile(a_plan("small x1", 0.4, 0.3), a_plan("small x1", 0.5, 0.3))


@pytest.mark.parametrize(
    "models",
    [
        {"small": "small-model", "large": "another"},
        {"small": "small-model"},
        {"large": "large-model", "small": "small-model"},
    ],
)
def test_other_models_are_refused(models: dict[str, str]) -> None:
    PROFILE.check_models(MODELS)
    with pytest.raises(ConfigurationError, match="it was fitted for small=small-model"):
        PROFILE.check_models(models)


def test_a_strategy_that_this_version_does_not_know_is_named() -> None:
    odd = a_plan("small odd", 0.5, 1.0, strategy={"kind": "single", "samples": 3})
    with pytest.raises(ConfigurationError, match="plan 'small odd'"):
        plan_strategies(a_profile(odd), strategy_parts())


def test_the_shipped_profile_can_be_used() -> None:
    profile = read_profile(shipped_profile())
    profile.check_models({"small": "qwen2.5-coder-0.5b", "large": "qwen2.5-coder-1.5b"})
    assert set(plan_strategies(profile, strategy_parts())) >= {"small x1", "large x1"}
    assert profile.made.command
    assert profile.made.prompts >= 100
