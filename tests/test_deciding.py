"""Which profile decides, and what is said where none can."""

import gzip
from pathlib import Path
from typing import Any

import orjson
import pytest

from entroute.deciding import deciding, plan_strategies, profile_of, shipped_profile
from entroute.difficulty.chain import Chain
from entroute.errors import ConfigurationError
from entroute.feedback import MemoryFeedbackConfig
from entroute.feedback.feedback import Origin
from entroute.loading import load
from entroute.profile.profile import Profile, write_profile
from entroute.protocols import Strategy
from entroute.redis_link.links import RedisLinks
from entroute.routing.compute_optimal import ComputeOptimal
from entroute.routing.threshold import Threshold
from entroute.settings import Settings
from tests.builders import a_request, a_run, a_tier
from tests.fakes import strategy_parts
from tests.profiles import a_plan, a_profile
from tests.scripted import FakeClock

COMPUTE_OPTIMAL = {"kind": "compute_optimal"}


def settings_of(**changes: Any) -> Settings:
    """Return settings of the tiers small and large, with the models of `a_profile`."""
    tiers = [
        {"name": name, "model": f"{name}-model", "workers": [{"url": "http://h:1/v1"}]}
        for name in ("small", "large")
    ]
    return Settings.model_validate({"tiers": tiers, **changes})


def file_of(folder: Path, name: str = "profile.json.gz") -> Path:
    """Write a profile of those tiers."""
    path = folder / name
    write_profile(path, a_profile(a_plan("small x1", 0.4, 0.3)))
    return path


def refused(path: Path, **changes: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        profile_of(settings_of(profile=str(path), **changes))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["profile.json", "profile.json.gz"])
def test_a_profile_of_these_tiers_is_read(tmp_path: Path, name: str) -> None:
    profile = profile_of(settings_of(profile=str(file_of(tmp_path, name))))
    assert profile is not None
    assert profile.plans[0].name == "small x1"


def test_a_profile_that_is_missing_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nowhere.json.gz"
    assert refused(path) == f"{path}: No such file or directory"


@pytest.mark.parametrize("name", ["profile.json", "profile.json.gz"])
@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.99])
def test_a_profile_that_was_cut_off_is_named(tmp_path: Path, name: str, kept: float) -> None:
    path = file_of(tmp_path, name)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    assert refused(path).startswith(f"{path}: cut off or no profile: ")


@pytest.mark.parametrize("place", [30, 200, -6])
def test_a_profile_that_was_damaged_is_named(tmp_path: Path, place: int) -> None:
    path = file_of(tmp_path)
    data = bytearray(path.read_bytes())
    data[place] ^= 0xFF
    path.write_bytes(bytes(data))
    assert refused(path).startswith(f"{path}: ")


@pytest.mark.parametrize("row", [{"schema": "entroute-profile-9"}, {}, [], 3, None])
def test_another_schema_is_named_beside_the_one_that_is_read(tmp_path: Path, row: Any) -> None:
    path = tmp_path / "profile.json.gz"
    path.write_bytes(gzip.compress(orjson.dumps(row)))
    found = row.get("schema") if isinstance(row, dict) else None
    said = refused(path)
    assert said == f"{path}: its schema is {found!r}, this version reads entroute-profile-1"


def test_a_key_that_is_wrong_is_named_with_its_path(tmp_path: Path) -> None:
    path = file_of(tmp_path, "profile.json")
    row = orjson.loads(path.read_bytes())
    row["plans"][0]["right"] = 3
    path.write_bytes(orjson.dumps(row))
    assert refused(path).startswith(f"{path}: plans.0.right: ")


@pytest.mark.parametrize("policy", [COMPUTE_OPTIMAL, {"kind": "threshold"}])
def test_a_profile_of_other_models_is_refused_with_both_named(
    tmp_path: Path, policy: dict[str, str]
) -> None:
    path = file_of(tmp_path)
    tiers = [
        {"name": name, "model": model, "workers": [{"url": "http://h:1/v1"}]}
        for name, model in (("small", "llama-1b"), ("large", "large-model"))
    ]
    said = refused(path, tiers=tiers, policy=policy)
    assert "small=small-model, large=large-model" in said
    assert "small=llama-1b, large=large-model" in said
    assert "entroute calibrate" in said


def test_tiers_in_another_order_are_others(tmp_path: Path) -> None:
    tiers = [
        {"name": name, "model": f"{name}-model", "workers": [{"url": "http://h:1/v1"}]}
        for name in ("large", "small")
    ]
    assert "the tiers are large=large-model, small=small-model" in refused(
        file_of(tmp_path), tiers=tiers
    )


def test_compute_optimal_of_foreign_tiers_asks_for_a_profile() -> None:
    with pytest.raises(ConfigurationError) as caught:
        profile_of(settings_of(policy=COMPUTE_OPTIMAL))
    said = str(caught.value)
    assert said.startswith("policy: compute_optimal needs a profile of these tiers")
    assert "`profile: FILE`" in said
    assert "small=small-model, large=large-model" in said
    assert "small=qwen2.5-coder-0.5b" in said


async def test_foreign_tiers_are_decided_without_a_profile_by_default() -> None:
    settings = settings_of()
    assert profile_of(settings) is None
    built = built_of(settings, None)
    assert isinstance(built.policy, Threshold)
    assert isinstance(built.estimator, Chain)
    assert built.plans == {}
    run = a_run(a_tier("small"), request=a_request("Hi"))
    estimate = await built.estimator.estimate(run)
    assert estimate.source == "lexical"  # `learned` has nothing to go by
    assert not estimate.abstained


def built_of(settings: Settings, profile: Profile | None) -> Any:
    clock = FakeClock()
    parts = strategy_parts()
    strategies: dict[str, Strategy] = {
        config.kind: config.build(parts) for config in settings.all_strategies
    }
    corrections = MemoryFeedbackConfig().build(clock, Origin(), RedisLinks(clock))
    return deciding(settings, profile, strategies, parts, corrections, clock)


def test_the_embedded_pair_decides_by_the_profile_that_ships() -> None:
    settings = load(None, {})
    profile = profile_of(settings)
    assert profile is not None
    assert shipped_profile().is_file()
    built = built_of(settings, profile)
    assert isinstance(built.policy, ComputeOptimal)
    assert set(built.plans) == {way.name for way in (*profile.plans, profile.free_form)}


def test_the_profile_that_ships_serves_its_models_behind_other_workers() -> None:
    tiers = [
        {"name": tier.name, "model": tier.model, "workers": [{"url": "http://h:1/v1"}]}
        for tier in load(None, {}).tiers
    ]
    settings = Settings.model_validate({"tiers": tiers, "policy": COMPUTE_OPTIMAL})
    assert profile_of(settings) == profile_of(load(None, {}))


@pytest.mark.parametrize(
    ("strategy", "words"),
    [
        ({"kind": "magic"}, "magic"),
        ({"kind": "reasc", "smaples": 3}, "Extra inputs"),
        ({"kind": "reasc", "samples": 1}, "greater than or equal to 3"),
    ],
)
def test_a_plan_that_this_version_cannot_run_is_named(strategy: Any, words: str) -> None:
    profile = a_profile(a_plan("small odd", 0.4, 0.3, strategy=strategy))
    with pytest.raises(ConfigurationError) as caught:
        plan_strategies(profile, strategy_parts())
    assert str(caught.value).startswith("profile: plan 'small odd': ")
    assert words in str(caught.value)
