"""Configurations of several processes, and processes that cannot start."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from entroute.errors import ConfigurationError
from entroute.feedback import RedisFeedbackConfig
from entroute.loading import load
from entroute.processes.portions import portion
from tests.gateway_process import child_environment, command, merged, two_tiers

REDIS = {"redis": {"url": "redis://127.0.0.1:1/0"}}
TWO = {"server": {"processes": 2}}


def written(folder: Path, *changes: dict[str, Any]) -> Path:
    settings: dict[str, Any] = two_tiers("http://127.0.0.1:1", "http://127.0.0.1:2")
    for each in changes:
        settings = merged(settings, each)
    file = folder / "gateway.yaml"
    file.write_text(yaml.safe_dump(settings))
    return file


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ([TWO], "server.processes: several processes share .* set redis.url"),
        ([TWO, REDIS, {"cache": {"kind": "memory"}}], "cache.kind: 'memory' .* use redis or off"),
        ([TWO, REDIS, {"feedback": {"kind": "memory"}}], "feedback.kind: 'memory' .* use redis"),
        (
            [TWO, REDIS, {"feedback": {"kind": "file", "path": "labels.jsonl"}}],
            "feedback.kind: 'file' .* use redis",
        ),
        ([{"server": {"processes": 0}}], "server.processes: "),
        ([{"server": {"processes": 65}}], "server.processes: "),
    ],
)
def test_state_of_one_process_is_refused(tmp_path: Path, changes: list[dict[str, Any]], words: str):
    with pytest.raises(ConfigurationError, match=words):
        load(written(tmp_path, *changes), {})


@pytest.mark.parametrize(
    "changes",
    [
        [REDIS],
        [REDIS, {"cache": {"ttl_s": 60}, "feedback": {"window": 100}}],
        [{"cache": {"kind": "redis", "url": "redis://127.0.0.1:1/0"}}],
    ],
)
def test_what_is_left_to_the_default_is_kept_in_redis(
    tmp_path: Path, changes: list[dict[str, Any]]
):
    environment = {"ENTROUTE_SERVER__PROCESSES": "2"}
    settings = load(written(tmp_path, *changes), environment)
    assert settings.cache.kind == "redis"
    assert isinstance(settings.feedback, RedisFeedbackConfig)
    assert settings.feedback.url.get_secret_value() == "redis://127.0.0.1:1/0"
    assert load(written(tmp_path, *changes), {}).feedback.kind == "memory"


def test_no_cache_is_shared_by_all(tmp_path: Path):
    assert load(written(tmp_path, TWO, REDIS, {"cache": {"kind": "off"}}), {}).cache.kind == "off"


def test_what_a_process_cannot_start_with_is_one_message_and_its_status(tmp_path: Path):
    file = written(tmp_path, TWO, REDIS, {"feedback": {"kind": "redis"}})
    environment = child_environment({"ENTROUTE_PROFILE": "ignored"})
    broken = tmp_path / "sitecustomize.py"
    # Only a fresh interpreter that is a server process lacks the module: its start fails.
    broken.write_text(
        "import sys\n"
        "if 'entroute.processes' in sys.orig_argv:\n"
        "    sys.modules['entroute.app'] = None\n"
    )
    environment["PYTHONPATH"] = f"{tmp_path}:{environment['PYTHONPATH']}"
    done = subprocess.run(
        command(["serve", "--config", str(file)]),
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("entroute: server process ")
    assert "ended with status 1 during its start" in last


def test_a_process_has_its_part_of_what_the_gateway_may_do(tmp_path: Path):
    given = {"queue": {"size": 100}, "retries": {"min_per_s": 9}, "server": {"processes": 3}}
    whole = load(written(tmp_path, given, REDIS), {})
    part = portion(whole)
    assert [tier.max_in_flight for tier in whole.tiers] == [512, 512]
    assert [tier.max_in_flight for tier in part.tiers] == [171, 171]
    assert (part.queue.size, part.retries.min_per_s) == (34, 3)
    alone = load(written(tmp_path, {"queue": {"size": 100}}), {})
    assert portion(alone) is alone
